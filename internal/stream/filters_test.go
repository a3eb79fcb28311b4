package stream_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Subscribers of one range see what they asked for, on one feed.
func TestEachSubscriberSeesItsOwnView(t *testing.T) {
	t.Parallel()
	g := start(t)
	queries := map[string]string{
		"prev_kv=true": `[{"type":"put","kv":{"key":"a","value":"{\"n\":2}","create_revision":%[1]d,"mod_revision":%[2]d,"version":2},` +
			`"prev_kv":{"key":"a","value":"1","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}},` +
			`{"type":"delete","kv":{"key":"b","mod_revision":%[2]d},"prev_kv":{"key":"b","value":"1","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}}]`,
		"": `[{"type":"put","kv":{"key":"a","value":"{\"n\":2}","create_revision":%[1]d,"mod_revision":%[2]d,"version":2}},` +
			`{"type":"delete","kv":{"key":"b","mod_revision":%[2]d}}]`,
		"events=put":               `[{"type":"put","kv":{"key":"a","value":"{\"n\":2}","create_revision":%[1]d,"mod_revision":%[2]d,"version":2}}]`,
		"events=delete":            `[{"type":"delete","kv":{"key":"b","mod_revision":%[2]d}}]`,
		"events=put&events=delete": `[{"type":"put","kv":{"key":"a","value":"{\"n\":2}","create_revision":%[1]d,"mod_revision":%[2]d,"version":2}},{"type":"delete","kv":{"key":"b","mod_revision":%[2]d}}]`,
		"keys_only=true":           `[{"type":"put","kv":{"key":"a","create_revision":%[1]d,"mod_revision":%[2]d,"version":2}},{"type":"delete","kv":{"key":"b","mod_revision":%[2]d}}]`,
		"encoding=base64":          `[{"type":"put","kv":{"key_base64":"YQ==","value_base64":"eyJuIjoyfQ==","create_revision":%[1]d,"mod_revision":%[2]d,"version":2}},{"type":"delete","kv":{"key_base64":"Yg==","mod_revision":%[2]d}}]`,
		"encoding=json":            `[{"type":"put","kv":{"key":"a","value_json":{"n":2},"create_revision":%[1]d,"mod_revision":%[2]d,"version":2}},{"type":"delete","kv":{"key":"b","mod_revision":%[2]d}}]`,
		"events=delete&prev_kv=true&keys_only=true": `[{"type":"delete","kv":{"key":"b","mod_revision":%[2]d},"prev_kv":{"key":"b","create_revision":%[1]d,"mod_revision":%[1]d,"version":1}}]`,
	}
	first := g.lines(t, "prefix=&prev_kv=true") // all others can join its feed
	first.created()
	streams := make(map[string]*subscription)
	for query := range queries {
		streams[query] = g.lines(t, "prefix=&"+query)
		streams[query].created()
	}
	if n := g.hub.Feeds(); n != 1 {
		t.Errorf("%d feeds, want one", n)
	}
	at := g.txn(t, clientv3.OpPut("a", "1"), clientv3.OpPut("b", "1"))
	now := g.txn(t, clientv3.OpPut("a", `{"n":2}`), clientv3.OpDelete("b"))
	for query, array := range queries {
		s := streams[query]
		if !strings.Contains(query, "events=delete") || strings.Contains(query, "events=put") {
			s.kind("events")
		}
		array = strings.NewReplacer("%[1]d", strconv.FormatInt(at, 10), "%[2]d", strconv.FormatInt(now, 10)).Replace(array)
		s.want(fmt.Sprintf(`{"type":"events","revision":%d,"events":%s}`, now, array))
	}
}

// A plain feed does not serve who wants the former values; another one does.
func TestAPrevKVSubscriberHasAFeedOfItsOwn(t *testing.T) {
	t.Parallel()
	g := start(t)
	plain := g.lines(t, "prefix=a")
	plain.created()
	former := g.lines(t, "prefix=a&prev_kv=true")
	former.created()
	if n := g.hub.Feeds(); n != 2 {
		t.Errorf("%d feeds, want two", n)
	}
	g.put(t, "a", "1")
	g.put(t, "a", "2")
	for range 2 {
		if m := plain.kind("events"); m.Events[0].PrevKV != nil {
			t.Errorf("got %s", m.text)
		}
	}
	former.kind("events")
	if m := former.kind("events"); m.Events[0].PrevKV == nil || m.Events[0].PrevKV.Value != "1" {
		t.Errorf("got %s", m.text)
	}
}

// Each revision is written once per form, however many read it.
func TestARevisionIsEncodedOncePerForm(t *testing.T) {
	t.Parallel()
	g := start(t)
	var streams []*subscription
	for range 10 {
		for _, form := range []string{"", "&keys_only=true", "&encoding=base64"} {
			s := g.lines(t, "prefix=a"+form)
			s.created()
			streams = append(streams, s)
		}
	}
	var last int64
	for range 20 {
		last = g.put(t, "a", "1")
	}
	for _, s := range streams {
		s.until(last)
	}
	if texts, entries := g.hub.Texts(); texts != 60 || entries != 20 {
		t.Errorf("got %d texts of %d revisions, want 60 of 20", texts, entries)
	}
}
