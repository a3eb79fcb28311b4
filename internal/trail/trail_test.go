package trail_test

import (
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/trail"
)

func TestPrefixesOfKeys(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]string{
		"app/name": "app/", "whole": "", "": "", "/": "", "/registry/pods/x": "/registry/", "/only": "", "a/": "a/",
		strings.Repeat("x", 40) + "/y":    strings.Repeat("x", 32) + "…",
		"\x1b[31m\n\u2028\u009b\xff/rest": `\x1b[31m\n\u2028\u009b\xff/`,
		"grüße/x":                         "grüße/",
	} {
		if got := trail.KeyPrefix([]byte(key)); got != want {
			t.Errorf("%q: got %q, want %q", key, got, want)
		}
	}
}

func TestARequestEndsWithTheLastWhoHoldsIt(t *testing.T) {
	t.Parallel()
	ended := 0
	var r trail.Request
	r.Begin(func() { ended++ })
	r.Hold()
	r.Done()
	if ended != 0 {
		t.Error("ended while a stream holds it")
	}
	if r.Done(); ended != 1 {
		t.Errorf("ended %d times, want once", ended)
	}
}

// Whoever notes something need not ask whether somebody wants it.
func TestNobodysNotesTakeEverything(t *testing.T) {
	t.Parallel()
	r := trail.From(t.Context())
	r.SetPrincipal("alice")
	r.SetTransport("sse")
	r.AddMessage()
	r.AddReceived(1)
	r.AddSent(1)
	r.AddUpstream(1)
	r.AddWrite()
	r.Hold()
	r.Done()
	if r.Principal() != "" || r.Transport() != "" {
		t.Errorf("got %q and %q", r.Principal(), r.Transport())
	}
}
