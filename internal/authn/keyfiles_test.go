package authn_test

import (
	"bytes"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
)

// TestKeyFilesAreReadAgain: keys in files are rotated without a restart, and a broken file changes nothing.
func TestKeyFilesAreReadAgain(t *testing.T) {
	t.Parallel()
	k := theKeys()
	set := writeFile(t, "jwks.json", goodSet())
	public := writeFile(t, "public.pem", publicPEM(t, k.ec.Public()))
	for name, c := range map[string]struct {
		file, broken, other string
		keys                authn.KeysOptions
	}{
		"JWK Set": {set, "{", setOf(jwkOf(k.ed.Public(), "ed", "EdDSA")), authn.KeysOptions{JWKSFile: set, Algorithms: []string{"ES256", "EdDSA"}}},
		"PEM":     {public, "-----BEGIN", otherPEM(t), authn.KeysOptions{PEM: []authn.FileKey{{Kid: "ec", Algorithm: "ES256", File: public}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &logged{}
			chain := openedWith(t, slog.New(slog.NewTextHandler(log, nil)),
				authn.Options{Kind: authn.KindJWT, Issuer: issuer, Audience: audience, Keys: c.keys})
			text := token(nil)
			eventually(t, chain, text, true)
			rewrite(t, c.file, c.broken)
			log.await(t, "cannot be used")
			if _, err := authenticate(chain, token(map[string]any{"jti": name})); err != nil {
				t.Errorf("with a broken file: got %v, want the former keys to count", err)
			}
			rewrite(t, c.file, c.other)
			eventually(t, chain, text, false)
		})
	}
}

func rewrite(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// logged is what a log has said.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logged) await(t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !strings.Contains(l.String(), text) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the log never says %q:\n%s", text, l)
		}
	}
}
