package handlers_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// event is an event of a history in short.
type event struct {
	Value                string
	Create, Mod, Version int64
}

// events reads the events of an answer.
func events(t *testing.T, doc map[string]any) []event {
	t.Helper()
	var out []event
	for _, e := range doc["events"].([]any) {
		o := e.(map[string]any)
		kv := o["kv"].(map[string]any)
		if o["type"] != "put" {
			t.Fatalf("got an event %v", o)
		}
		n := func(name string) int64 {
			v, err := kv[name].(jsonNumber).Int64()
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
		value, _ := kv["value"].(string)
		out = append(out, event{Value: value, Create: n("create_revision"), Mod: n("mod_revision"), Version: n("version")})
	}
	return out
}

func TestHistoryIsTheKeysPresentLifeNewestFirst(t *testing.T) {
	t.Parallel()
	g := start(t)
	random := rand.New(rand.NewPCG(3, 4))
	keys := []string{"a", "a/b", "b\xff"}
	life := make(map[string][]event)         // newest first
	at := make(map[int64]map[string][]event) // by store revision
	var revision int64
	for i := range 400 {
		k := keys[random.IntN(len(keys))]
		if random.IntN(60) == 0 {
			d, err := g.oracle.Delete(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			revision, life[k] = d.Header.Revision, nil
		} else {
			p, err := g.oracle.Put(t.Context(), k, fmt.Sprint("v", i))
			if err != nil {
				t.Fatal(err)
			}
			revision = p.Header.Revision
			e := event{Value: fmt.Sprint("v", i), Create: revision, Mod: revision, Version: 1}
			if before := life[k]; len(before) > 0 {
				e.Create, e.Version = before[0].Create, before[0].Version+1
			}
			life[k] = append([]event{e}, life[k]...)
		}
		at[revision] = map[string][]event{"a": life["a"], "a/b": life["a/b"], "b\xff": life["b\xff"]}
	}
	paths := map[string]string{"a": "a", "a/b": "a/b", "b\xff": "b%FF"}
	for r := revision; r > revision-300; r -= 37 {
		for k, want := range at[r] {
			query := fmt.Sprintf("?revision=%d&limit=7", r)
			if len(want) == 0 {
				g.do(t, "GET", "/v1/history/"+paths[k]+query, "").problem(t, 404, "key_not_found")
				continue
			}
			var got []event
			for cursor := ""; ; {
				doc := g.do(t, "GET", "/v1/history/"+paths[k]+query+cursor, "").want(t, 200).json(t)
				page := events(t, doc)
				got = append(got, page...)
				next, more := doc["cursor"].(string)
				if doc["complete"] == more || len(page) > 7 || (more && len(page) != 7) {
					t.Fatalf("%q at %d: a page of %d with complete %v and cursor %q", k, r, len(page), doc["complete"], next)
				}
				if !more {
					break
				}
				cursor = "&cursor=" + next
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Fatalf("%q at revision %d (-want +got):\n%s", k, r, diff)
			}
		}
	}
}

func TestAHistoryThatCompactionCutIsNotComplete(t *testing.T) {
	t.Parallel()
	g := start(t)
	for i := range 10 {
		if _, err := g.oracle.Put(t.Context(), "k", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	first := g.do(t, "GET", "/v1/history/k?limit=3", "").want(t, 200).json(t)
	cursor, _ := first["cursor"].(string)
	if got := events(t, first); len(got) != 3 || first["complete"] != false || cursor == "" {
		t.Fatalf("first page: got %v", first)
	}
	kept := events(t, first)[2].Mod
	if _, err := g.oracle.Compact(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	rest := g.do(t, "GET", "/v1/history/k?limit=3&cursor="+cursor, "").want(t, 200).json(t)
	if len(events(t, rest)) != 0 || rest["complete"] != false || rest["cursor"] != nil || rest["revision"] == nil {
		t.Errorf("the page behind the compaction: got %v", rest)
	}
	whole := g.do(t, "GET", "/v1/history/k", "").want(t, 200).json(t)
	if got := events(t, whole); len(got) != 3 || whole["complete"] != false || whole["cursor"] != nil || whole["compact_revision"] != nil {
		t.Errorf("after the compaction: got %v, want the 3 versions that are left", whole)
	}
	g.do(t, "GET", fmt.Sprintf("/v1/history/k?revision=%d", kept-1), "").problem(t, 410, "compacted")
}

func TestHistoryRefusesWhatItCannotMean(t *testing.T) {
	t.Parallel()
	g := start(t)
	for i := range 3 {
		if _, err := g.oracle.Put(t.Context(), "k", fmt.Sprint(i)); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, g, map[string]string{"other": "1"})
	page := g.do(t, "GET", "/v1/history/k?limit=1&encoding=base64", "").want(t, 200)
	doc := page.json(t)
	kv := doc["events"].([]any)[0].(map[string]any)["kv"].(map[string]any)
	if kv["key_base64"] != "aw==" || kv["value_base64"] != "Mg==" {
		t.Errorf("encoding=base64: got %v", kv)
	}
	if fmt.Sprint(doc["revision"]) != page.header.Get("Etcd-Revision") {
		t.Errorf("revision %v, Etcd-Revision %q", doc["revision"], page.header.Get("Etcd-Revision"))
	}
	cursor := doc["cursor"].(string)
	for _, c := range []struct {
		path   string
		status int
		code   string
	}{
		{"none", 404, "key_not_found"},
		{"", 400, "invalid_parameter"},
		{"%00x", 403, "reserved"},
		{"k?limit=101", 400, "invalid_parameter"},
		{"k?limit=0", 400, "invalid_parameter"},
		{"k?revision=100000", 409, "future_revision"},
		{"k?lives=both", 400, "invalid_parameter"},
		{"k?since=1", 400, "unknown_parameter"},
		{"k?cursor=" + cursor[1:], 400, "invalid_cursor"},
		{"other?cursor=" + cursor, 400, "invalid_cursor"},
		{"k?revision=3&cursor=" + cursor, 400, "invalid_cursor"},
	} {
		g.do(t, "GET", "/v1/history/"+c.path, "").problem(t, c.status, c.code)
	}
	g.do(t, "GET", "/v1/history/k?keys_only", "").want(t, 200)
}
