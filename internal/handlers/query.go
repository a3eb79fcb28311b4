package handlers

import (
	"encoding/base64"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// query is a strictly read query string: split at & only, + and %20 are a space, a bad escape or a repeated name is
// refused, and so is every name that the handler did not ask for. net/url's own parser drops such pairs silently.
//
// A handler asks for each parameter it knows and then calls done, which reports every fault at once.
type query struct {
	pairs  []pair
	asked  [32]string // the names asked for, to name the nearest known one
	nAsked int
	faults *problem.Error

	// What every call takes; read before the handler runs.
	timeout   int64
	base64url bool // key_encoding=base64url
	state     bool
}

// pair is one parameter as given; bare means that it came without "=", which is true for a switch and a fault elsewhere.
type pair struct {
	name, value string
	bare, used  bool
}

// parse splits the raw query. Repeats are found when a parameter is asked for, since key and events may repeat.
func (q *query) parse(raw string) error {
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		name, value, hasValue := strings.Cut(part, "=")
		name, err1 := unescape(name)
		value, err2 := unescape(value)
		if err1 != nil || err2 != nil {
			return problem.New(problem.InvalidParameter,
				"the query has a bad percent escape in %q; a percent sign is written %%25", part).AtParameter(name)
		}
		if name == "" {
			return problem.New(problem.InvalidParameter, "the query has a parameter without a name: %q", part).AtParameter("")
		}
		q.pairs = append(q.pairs, pair{name: name, value: value, bare: !hasValue})
	}
	return nil
}

func unescape(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// lookup marks and gives the parameter, nil when absent. A second value is a fault.
func (q *query) lookup(name string) *pair {
	q.ask(name)
	var found *pair
	for i := range q.pairs {
		p := &q.pairs[i]
		if p.name != name {
			continue
		}
		if found != nil && !p.used {
			q.fault(name, problem.InvalidParameter, "%s is given twice", name)
		}
		p.used = true
		if found == nil {
			found = p
		}
	}
	return found
}

func (q *query) ask(name string) {
	if q.nAsked < len(q.asked) {
		q.asked[q.nAsked] = name
		q.nAsked++
	}
}

// all marks and gives every value of a parameter that may repeat, in order.
func (q *query) all(name string) []string {
	q.ask(name)
	var out []string
	for i := range q.pairs {
		if q.pairs[i].name == name {
			q.pairs[i].used = true
			out = append(out, q.pairs[i].value)
		}
	}
	return out
}

// given tells whether the parameter is in the query, without asking for it.
func (q *query) given(name string) bool {
	for i := range q.pairs {
		if q.pairs[i].name == name {
			return true
		}
	}
	return false
}

// fault notes one fault; done reports them together. The first one's code is the problem's code.
func (q *query) fault(name string, code problem.Code, format string, args ...any) {
	e := problem.New(code, format, args...).AtParameter(name)
	if q.faults == nil {
		q.faults = e
		return
	}
	q.faults.Fields = append(q.faults.Fields, e.Fields...)
}

// done reports every fault so far and every parameter that nobody asked for.
func (q *query) done() error {
	for i := range q.pairs {
		p := &q.pairs[i]
		if p.used {
			continue
		}
		p.used = true
		hint := "this call takes no such parameter"
		if near := nearest(p.name, q.asked[:q.nAsked]); near != "" {
			hint = "did you mean " + near + "?"
		}
		q.fault(p.name, problem.UnknownParameter, "the query parameter %q is not known here; %s", p.name, hint)
	}
	if q.faults == nil {
		return nil
	}
	return q.faults
}

// integer reads a whole number in [low, high]; fallback is for an absent parameter.
func (q *query) integer(name string, fallback, low, high int64) int64 {
	p := q.lookup(name)
	if p == nil {
		return fallback
	}
	n, err := strconv.ParseInt(p.value, 10, 64)
	if err != nil || n < low || n > high || !plainInteger(p.value) {
		if high == math.MaxInt64 {
			q.fault(name, problem.InvalidParameter, "%s must be a whole number, %d or greater", name, low)
		} else {
			q.fault(name, problem.InvalidParameter, "%s must be a whole number from %d to %d", name, low, high)
		}
		return fallback
	}
	return n
}

// plainInteger refuses the spellings that ParseInt takes beyond plain decimals (a plus sign).
func plainInteger(s string) bool { return s != "" && s[0] != '+' }

// boolean reads a switch: true, false, 1, 0; a bare name is true.
func (q *query) boolean(name string) bool {
	p := q.lookup(name)
	if p == nil {
		return false
	}
	switch {
	case p.bare, p.value == "true", p.value == "1":
		return true
	case p.value == "false", p.value == "0":
		return false
	}
	q.fault(name, problem.InvalidParameter, "%s must be true or false (or 1 or 0, or the bare name for true)", name)
	return false
}

// choice reads one of a closed set of words; fallback is for an absent parameter.
func (q *query) choice(name, fallback string, words ...string) string {
	p := q.lookup(name)
	if p == nil {
		return fallback
	}
	if slices.Contains(words, p.value) {
		return p.value
	}
	q.fault(name, problem.InvalidParameter, "%s must be one of %s", name, strings.Join(words, ", "))
	return fallback
}

// text reads a parameter as it is; a bare name is a fault.
func (q *query) text(name string) (string, bool) {
	p := q.lookup(name)
	switch {
	case p == nil:
		return "", false
	case p.bare:
		q.fault(name, problem.InvalidParameter, "%s needs a value: %s=…", name, name)
		return "", false
	}
	return p.value, true
}

// keyText reads a parameter that names a key, under the request's key encoding; nil when absent.
func (q *query) keyText(name string) (key []byte, ok bool) {
	text, ok := q.text(name)
	if !ok {
		return nil, false
	}
	key, err := q.decodeKey(name, text)
	if err != nil {
		q.fault(name, problem.InvalidParameter, "%s", problem.From(err).Detail)
		return nil, false
	}
	return key, true
}

// encoding reads the form in which values are answered.
func (q *query) encoding() kvjson.Encoding {
	text, ok := q.text("encoding")
	if !ok {
		return kvjson.Auto
	}
	e, ok := kvjson.ParseEncoding(text)
	if !ok {
		q.fault("encoding", problem.InvalidParameter, "encoding must be one of auto, base64, json")
	}
	return e
}

// decodeKey decodes a key of the request under key_encoding.
func (q *query) decodeKey(parameter, text string) ([]byte, error) {
	if !q.base64url {
		return []byte(text), nil
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, problem.New(problem.InvalidParameter,
			"with key_encoding=base64url, %s must be unpadded base64url (A-Z a-z 0-9 - _)", parameter).AtParameter(parameter)
	}
	return key, nil
}

// common reads what every call takes.
func (q *query) common() {
	q.timeout = q.integer("timeout", 0, 1, maxTimeoutSeconds)
	q.base64url = q.choice("key_encoding", "text", "text", "base64url") == "base64url"
}

// waiting is the time in seconds that the call wants to wait, as far as it can be read; the handler judges the parameter.
func (q *query) waiting() int64 {
	for i := range q.pairs {
		if q.pairs[i].name == "wait" {
			n, _ := strconv.ParseInt(q.pairs[i].value, 10, 64)
			return min(max(n, 0), maxTimeoutSeconds)
		}
	}
	return 0
}

// nearest gives the known name that is closest to a misspelt one, or "" when none is close.
func nearest(name string, known []string) string {
	best, bestDistance := "", 3
	for _, k := range known {
		if d := editDistance(name, k); d < bestDistance && d < len(k) {
			best, bestDistance = k, d
		}
	}
	return best
}

// editDistance is Levenshtein's distance, for short names only.
func editDistance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return 40
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			next := min(row[j+1]+1, row[j]+1, diagonal+cost)
			diagonal, row[j+1] = row[j+1], next
		}
	}
	return row[len(b)]
}
