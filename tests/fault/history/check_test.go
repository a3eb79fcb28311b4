package history_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// recorded is a history of 40 revisions over two folders; every fifth changes three keys, every seventh deletes one.
func recorded(t *testing.T) *history.Log {
	t.Helper()
	type life struct{ create, version int64 }
	lives := map[string]life{}
	var revisions []history.Revision
	for r := int64(2); r <= 41; r++ {
		keys := []string{fmt.Sprintf("a/%d", r%4)}
		if r%5 == 0 {
			keys = []string{"a/x", "a/y", "b/z"}
		} else if r%3 == 0 {
			keys = []string{"b/z"}
		}
		one := history.Revision{Revision: r}
		for _, key := range keys {
			was, existed := lives[key]
			if existed && r%7 == 0 {
				one.Events = append(one.Events, history.Event{Type: history.Delete, Key: key, Mod: r})
				delete(lives, key)
				continue
			}
			if !existed {
				was.create = r
			}
			was.version++
			lives[key] = was
			one.Events = append(one.Events, history.Event{
				Type: history.Put, Key: key, Value: fmt.Sprint("v", r), Mod: r, Create: was.create, Version: was.version,
			})
		}
		revisions = append(revisions, one)
	}
	log, err := history.NewLog(revisions)
	if err != nil {
		t.Fatal(err)
	}
	return log
}

var inA = history.View{Key: "a/", Prefix: true}

// good is a faultless stream of a log: from the start to revision 20 on one connection, on to the end on the next.
func good(log *history.Log, view history.View) history.Stream {
	s := history.Stream{Name: "good", View: view}
	for _, span := range [][2]int64{{2, 20}, {21, log.Head()}} {
		leg := history.Leg{Start: span[0], Messages: []history.Message{{Kind: history.Created, Revision: span[0] - 1}}, End: "cut"}
		for r := span[0]; r <= span[1]; r++ {
			if events := view.Of(log.At(r)); len(events) > 0 {
				leg.Messages = append(leg.Messages, history.Message{Kind: history.Events, Revision: r, Events: events})
			}
			if r%10 == 0 {
				leg.Messages = append(leg.Messages, history.Message{Kind: history.Progress, Revision: r})
			}
		}
		s.Legs = append(s.Legs, leg)
	}
	return s
}

func TestGoodStreamsPass(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	for _, view := range []history.View{
		inA,
		{Key: "a/x"},
		{Key: "a/1", To: "b/"},
		{Key: "", Prefix: true},
		{Key: "a/", Prefix: true, PrevKV: true},
		{Key: "a/", Prefix: true, KeysOnly: true},
		{Key: "a/", Prefix: true, Only: history.Delete},
	} {
		if faults := history.Check(log, good(log, view), log.Head()); len(faults) > 0 {
			t.Errorf("%+v: got %v, want none", view, faults)
		}
	}
}

// TestEachDamageIsCaught takes a good stream, damages its second connection (or the first), and wants the damage named.
func TestEachDamageIsCaught(t *testing.T) {
	t.Parallel()
	log := recorded(t)
	for name, test := range damages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stream := good(log, inA)
			legs := stream.Legs
			legs[1].Messages = test.inflict(legs[1].Messages)
			faults := history.Check(log, stream, log.Head())
			if len(faults) == 0 {
				t.Fatalf("the checker did not notice: %s", name)
			}
			for _, want := range test.want {
				if !slices.ContainsFunc(faults, func(f history.Fault) bool { return f.Damage == want && f.Leg == 1 }) {
					t.Errorf("got %v, want one %s", faults, want)
				}
			}
			for _, f := range faults {
				if !slices.Contains(test.want, f.Damage) {
					t.Errorf("got %v too, want only %v", f, test.want)
				}
			}
		})
	}
}
