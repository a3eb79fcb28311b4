package handlers_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// life is one event of a history as the model knows it.
type life struct {
	kind, value string
	revision    any
}

// history reads the whole history page by page.
func (g *gateway) history(t testing.TB, path string) (events []life, last map[string]any) {
	t.Helper()
	cursor := ""
	for {
		page := g.do(t, "GET", path+cursor, "").want(t, 200).json(t)
		list, _ := page["events"].([]any)
		for _, item := range list {
			event, _ := item.(map[string]any)
			kv, _ := event["kv"].(map[string]any)
			kind, _ := event["type"].(string)
			value, _ := kv["value"].(string)
			events = append(events, life{kind, value, kv["mod_revision"]})
		}
		next, more := page["cursor"].(string)
		if !more {
			return events, page
		}
		cursor = "&cursor=" + next
	}
}

func TestAllLivesOfAKeyAreThoseOfAModel(t *testing.T) {
	t.Parallel()
	g := start(t)
	var model []life // newest first
	exists := false
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 120 {
		g.do(t, "PUT", "/v1/kv/other", `{"value":"x"}`)
		if exists && random.IntN(3) == 0 {
			revision := g.do(t, "DELETE", "/v1/kv/k", "").want(t, 200).json(t)["revision"]
			model = append([]life{{"delete", "", revision}}, model...)
			exists = false
			continue
		}
		value := fmt.Sprint(i)
		revision := g.do(t, "PUT", "/v1/kv/k", `{"value":"`+value+`"}`).json(t)["mod_revision"]
		model = append([]life{{"put", value, revision}}, model...)
		exists = true
	}
	for _, limit := range []int{100, 7, 1} {
		events, last := g.history(t, fmt.Sprintf("/v1/history/k?lives=all&limit=%d", limit))
		if diff := cmp.Diff(model, events, cmp.AllowUnexported(life{})); diff != "" {
			t.Errorf("limit %d (-model +got):\n%s", limit, diff)
		}
		if last["complete"] != true || last["compact_revision"] != nil {
			t.Errorf("limit %d: the last page says complete %v, compact_revision %v", limit, last["complete"], last["compact_revision"])
		}
	}
	past, _ := g.history(t, fmt.Sprintf("/v1/history/k?lives=all&revision=%v", model[50].revision))
	if diff := cmp.Diff(model[50:], past, cmp.AllowUnexported(life{})); diff != "" {
		t.Errorf("from a past revision (-model +got):\n%s", diff)
	}
	g.do(t, "GET", "/v1/history/never?lives=all", "").problem(t, 404, "key_not_found")
	g.do(t, "GET", "/v1/history/k?lives=all&revision=99999", "").problem(t, 409, "future_revision")
}

// The log begins where it was compacted, and the answer says where that is.
func TestAllLivesAfterACompactionSayWhereTheLogBegins(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	g.do(t, "DELETE", "/v1/kv/k", "").want(t, 200)
	second := g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`).want(t, 201).json(t)["mod_revision"]
	g.do(t, "PUT", "/v1/kv/k", `{"value":"3"}`).want(t, 200)
	g.do(t, "POST", "/v1/maintenance/compact", fmt.Sprintf(`{"revision":%v}`, second)).want(t, 200)
	events, last := g.history(t, "/v1/history/k?lives=all")
	if len(events) != 2 || events[0].value != "3" || events[1].value != "2" {
		t.Errorf("events: got %v, want the values 3 and 2", events)
	}
	if last["complete"] != false || last["compact_revision"] != second {
		t.Errorf("got complete %v and compact_revision %v, want false and %v", last["complete"], last["compact_revision"], second)
	}
}

// CORRECTNESS 2: one scan at a time per gateway.
func TestOneScanOfTheLogRunsAtATime(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	var readers sync.WaitGroup
	var mu sync.Mutex
	statuses := make(map[int]int)
	for range 24 {
		readers.Go(func() {
			a := g.do(t, "GET", "/v1/history/k?lives=all", "")
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
			if a.status == 503 && (!strings.Contains(string(a.body), `"overloaded"`) || a.header.Get("Retry-After") == "") {
				t.Errorf("a second scan: got %s %v", a.body, a.header)
			}
		})
	}
	readers.Wait()
	if statuses[200] == 0 || statuses[200]+statuses[503] != 24 {
		t.Errorf("statuses: %v, want some 200 and the rest 503", statuses)
	}
	g.do(t, "GET", "/v1/history/k?lives=all", "").want(t, 200)
}
