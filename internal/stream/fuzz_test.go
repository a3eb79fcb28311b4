package stream_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/stream"
)

// Whatever a client sends, it is understood whole or refused; what is understood says what JSON says.
func FuzzOps(f *testing.F) {
	f.Fuzz(func(t *testing.T, message []byte) {
		name, id, key, end, err := stream.Understand(message)
		if err != nil {
			return
		}
		var o struct {
			Op   string  `json:"op"`
			ID   *string `json:"id"`
			Key  *string `json:"key"`
			From *string `json:"from"`
		}
		if err := json.Unmarshal(message, &o); err != nil {
			t.Fatalf("understood, but no JSON: %v: %q", err, message)
		}
		if o.Op != name || o.ID != nil && *o.ID != id {
			t.Errorf("%q: understood as %q of %q", message, name, id)
		}
		if name != "watch" {
			return
		}
		switch {
		case o.Key != nil && *o.Key != string(key):
			t.Errorf("%q: watches %q", message, key)
		case len(key) == 0 || key[0] == 0:
			t.Errorf("%q: watches reserved keys from %q on", message, key)
		case len(end) > 0 && string(end) != "\x00" && string(end) <= string(key):
			t.Errorf("%q: watches nothing, from %q to %q", message, key, end)
		}
	})
}

// A bookmark is taken only when it is spelled as the gateway spells them.
func FuzzLastEventID(f *testing.F) {
	f.Fuzz(func(t *testing.T, bookmark string) {
		epoch, revision, err := stream.After(bookmark)
		if err != nil {
			return
		}
		if again := stream.Bookmark(epoch, revision-1); again != bookmark || revision < 1 || epoch == "" {
			t.Errorf("%q: taken as revision %d of %q, which is %q", bookmark, revision, epoch, again)
		}
		if strings.ContainsAny(bookmark, "\n") && !strings.Contains(epoch, "\n") {
			t.Errorf("%q: a line is lost", bookmark)
		}
	})
}
