package authn

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"
)

// claimRules are what the claims of a token must be.
type claimRules struct {
	issuer, audience, name string
	leeway                 time.Duration
}

// errExpired says that the claims were good once.
var errExpired = errors.New("exp has passed")

// check judges the claims at a time. It gives the name of the caller and when the token stops to count, leeway included. An
// error is for people, too: it names claims, never what they hold.
func (r *claimRules) check(claims map[string]any, now time.Time) (name string, expires time.Time, err error) {
	if claims["iss"] != any(r.issuer) {
		return "", expires, errors.New("iss is not the issuer that this gateway trusts")
	}
	if err := r.checkAudience(claims["aud"]); err != nil {
		return "", expires, err
	}
	if name, err = r.callerName(claims); err != nil {
		return "", expires, err
	}
	expires, err = r.checkTimes(claims, now)
	return name, expires, err
}

func (r *claimRules) checkAudience(aud any) error {
	switch aud := aud.(type) {
	case nil:
		return errors.New("aud is missing")
	case string:
		if aud == r.audience {
			return nil
		}
	case []any:
		for _, item := range aud {
			if _, ok := item.(string); !ok {
				return errors.New("aud holds something else than strings")
			}
		}
		if slices.Contains(aud, any(r.audience)) {
			return nil
		}
	default:
		return errors.New("aud is neither a string nor an array of strings")
	}
	return errors.New("aud does not name this gateway")
}

// callerName reads the name claim, and looks at sub whether it is that or not (RFC 7519, section 4.1.2).
func (r *claimRules) callerName(claims map[string]any) (string, error) {
	var found string
	for _, claim := range []string{"sub", r.name} {
		value, is := claims[claim]
		if !is && claim != r.name {
			continue
		}
		if !is {
			return "", fmt.Errorf("%s is missing", claim)
		}
		name, ok := value.(string)
		if !ok {
			return "", fmt.Errorf("%s is not a string", claim)
		}
		if fault := nameFault(name); fault != "" {
			return "", fmt.Errorf("%s %s", claim, fault)
		}
		found = name
	}
	return found, nil
}

func (r *claimRules) checkTimes(claims map[string]any, now time.Time) (expires time.Time, err error) {
	exp, is, err := numericDate(claims, "exp")
	switch {
	case err != nil:
		return expires, err
	case !is:
		return expires, errors.New("exp is missing")
	case exp.Unix() <= 0:
		return expires, errors.New("exp is not a time after 1970")
	}
	for _, claim := range []string{"nbf", "iat"} {
		from, _, err := numericDate(claims, claim)
		if err != nil {
			return expires, err
		}
		if now.Before(from.Add(-r.leeway)) {
			return expires, fmt.Errorf("%s lies in the future", claim)
		}
	}
	expires = exp.Add(r.leeway)
	if !now.Before(expires) {
		return expires, errExpired
	}
	return expires, nil
}

// maxDate is the last second of the year 9999, beyond which a time cannot be written.
const maxDate = 253402300799

// numericDate reads seconds since 1970, which may have a fraction (RFC 7519, section 2). An absent one is the zero time.
func numericDate(claims map[string]any, claim string) (t time.Time, is bool, err error) {
	value, is := claims[claim]
	if !is {
		return t, false, nil
	}
	number, ok := value.(json.Number)
	if !ok {
		return t, true, fmt.Errorf("%s is not a number", claim)
	}
	seconds, err := number.Float64()
	if err != nil || math.IsNaN(seconds) || seconds < 0 || seconds > maxDate {
		return t, true, fmt.Errorf("%s is not a time between 1970 and 9999", claim)
	}
	whole, fraction := math.Modf(seconds)
	return time.Unix(int64(whole), int64(fraction*1e9)), true, nil
}
