package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// tokenConfig is what `gateway token` is asked for.
type tokenConfig struct {
	Key         string
	GenerateKey string
	Algorithm   string
	Kid         string
	Issuer      string
	Audience    string
	Subject     string
	Claims      []string
	TTL         time.Duration
}

// runToken signs a token and prints it alone, or makes a key to sign with.
func runToken(_ context.Context, p process) error {
	c, err := load(p)
	if err != nil {
		return err
	}
	if c.Token.GenerateKey != "" {
		return c.Token.generate(p)
	}
	content, err := os.ReadFile(c.Token.Key)
	if err != nil {
		return err
	}
	key, err := authn.ReadSigningKey(content, c.Token.Algorithm, c.Token.Kid)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Token.Key, err)
	}
	claims, err := c.Token.claims()
	if err != nil {
		return err
	}
	now := time.Now()
	all := map[string]any{
		"iss": c.Token.Issuer, "aud": c.Token.Audience, "sub": c.Token.Subject, "iat": now.Unix(), "exp": now.Add(c.Token.TTL).Unix(),
	}
	maps.Copy(all, claims)
	token, err := key.Sign(all)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(p.stdout, token)
	return err
}

// claims reads NAME=VALUE. A value that is JSON is that; any other text is itself, unless it tries to be JSON.
func (t *tokenConfig) claims() (map[string]any, error) {
	all := make(map[string]any)
	for _, given := range t.Claims {
		name, text, found := strings.Cut(given, "=")
		if !found || name == "" {
			return nil, fmt.Errorf("%q is not NAME=VALUE, such as org=acme or roles='[\"editor\"]'", given)
		}
		if _, twice := all[name]; twice {
			return nil, fmt.Errorf("%s is given twice; write several values as an array: %s='[\"a\",\"b\"]'", name, name)
		}
		for claim, flag := range map[string]string{"iss": "issuer", "aud": "audience", "sub": "subject"} {
			if name == claim {
				return nil, fmt.Errorf("%s has a flag of its own: --%s", claim, flag)
			}
		}
		value := any(json.RawMessage(text))
		if !json.Valid([]byte(text)) {
			if text != "" && strings.ContainsRune(`{["`, rune(text[0])) {
				return nil, fmt.Errorf("%s: %s is not JSON", name, text)
			}
			value = text
		}
		all[name] = value
	}
	return all, nil
}

// jwksSuffix makes the name of the JWK Set from that of the private key.
const jwksSuffix = ".jwks.json"

// generate makes a private key and its JWK Set, or a secret. It replaces no file.
func (t *tokenConfig) generate(p process) error {
	algorithm := t.Algorithm
	if algorithm == "" {
		algorithm = "ES256"
	}
	content, err := authn.GenerateKey(algorithm)
	if err != nil {
		return err
	}
	key, err := authn.ReadSigningKey(content, algorithm, t.Kid)
	if err != nil {
		return err
	}
	if err := create(t.GenerateKey, content); err != nil {
		return err
	}
	if strings.HasPrefix(algorithm, "HS") {
		_, err = fmt.Fprintf(p.stdout, "secret  %s, for the gateway: keys: {secret: [{algorithm: %s, file: %[1]s}]}\n", t.GenerateKey, algorithm)
		return err
	}
	set, err := key.JWKS()
	if err != nil {
		return err
	}
	public := t.GenerateKey + jwksSuffix
	if err := create(public, append(set, '\n')); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "private key  %s, for `gateway token --key`; whoever has it can be anybody\n"+
		"JWK Set      %s, for the gateway: keys: {jwks_file: %[2]s, algorithms: [%s]}\n", t.GenerateKey, public, algorithm)
	return err
}

// create writes a new file that nobody else may read.
func create(name string, content []byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the caller names the file
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is there already; name a new file, or remove it first", name)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// token checks what belongs together.
func (v *validation) token() {
	t := &v.config.Token
	if t.GenerateKey != "" {
		for _, name := range []string{"key", "issuer", "audience", "subject", "claim", "ttl"} {
			if v.config.source(name) != fromDefault {
				v.fault("--%s is given with --generate-key, which makes a key and no token", name)
			}
		}
		return
	}
	for _, f := range []struct{ name, value, right string }{
		{"key", t.Key, "name a file with a private key or a secret, or make one with --generate-key"},
		{"issuer", t.Issuer, "say what the gateway's auth has as issuer"},
		{"audience", t.Audience, "say what the gateway's auth has as audience"},
		{"subject", t.Subject, "say whom the token names"},
	} {
		if f.value == "" {
			v.fault("--%s is missing; %s", f.name, f.right)
		}
	}
	if _, err := t.claims(); err != nil {
		v.fault("--claim: %v", err)
	}
}
