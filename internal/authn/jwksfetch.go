package authn

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
)

// checkJWKSURL demands a way on which nobody can put other keys into the answer.
func checkJWKSURL(text string) error {
	const right = "use the issuer's jwks_uri, such as https://id.example/jwks"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return errors.New("it is not a URL; " + right)
	case u.User != nil || u.Fragment != "":
		return errors.New("it has a user or a fragment; " + right)
	case u.Scheme == "http" && !loopbackHost(u.Hostname()):
		return errors.New("it is http, where anybody on the way can put keys in; " + right)
	}
	return nil
}

func loopbackHost(name string) bool {
	address, err := netip.ParseAddr(name)
	return name == "localhost" || (err == nil && address.IsLoopback())
}

// jwksClient fetches JWK Sets.
func jwksClient(o JWKSURLOptions) *http.Client {
	return &http.Client{
		Timeout: o.Timeout,
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: o.Timeout}).DialContext,
			TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.Roots},
			ForceAttemptHTTP2:      true,
			DisableKeepAlives:      true, // minutes lie between two fetches
			DisableCompression:     true, // the limit is for what is read
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: redirect,
	}
}

// redirect lets a redirect be followed within the host, three times.
func redirect(r *http.Request, via []*http.Request) error {
	if from := via[0].URL; r.URL.Scheme != from.Scheme || r.URL.Host != from.Host || len(via) > 3 {
		return errors.New("it redirects elsewhere, which is not followed; name the address of the keys themselves")
	}
	return nil
}

// fetch gets and reads the JWK Set.
func (s *JWKSURL) fetch(ctx context.Context) (*KeySet, []string, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.o.URL, http.NoBody)
	if err != nil {
		return nil, nil, err
	}
	r.Header.Set("Accept", "application/jwk-set+json, application/json")
	answer, err := s.client.Do(r)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = answer.Body.Close() }() // nothing is left to do with it
	if answer.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the answer is %s, not 200", answer.Status)
	}
	text, err := io.ReadAll(io.LimitReader(answer.Body, maxKeyFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > maxKeyFile {
		return nil, nil, fmt.Errorf("the answer has more than %d bytes", maxKeyFile)
	}
	keys, skipped, err := parseJWKS(text, s.o.Algorithms)
	if err != nil {
		return nil, nil, err
	}
	set, err := newKeySet(keys)
	if err != nil {
		return nil, nil, fmt.Errorf("%w (left out: %q)", err, skipped)
	}
	return set, skipped, nil
}
