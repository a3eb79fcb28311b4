package handlers_test

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// found are the keys of the matches of one answer, with its end line.
func found(t *testing.T, lines []map[string]any) (keys []string, end map[string]any) {
	t.Helper()
	for _, l := range lines {
		switch l["type"] {
		case "match":
			keys = append(keys, keyOf(t, l["kv"].(map[string]any)))
		case "end":
			end = l
		case "progress":
		default:
			t.Fatalf("got a line %v", l)
		}
	}
	if end == nil {
		t.Fatalf("there is no end line in %v", lines)
	}
	return keys, end
}

func TestSearchFindsBytesInKeysAndValues(t *testing.T) {
	t.Parallel()
	for name, b := range bothPaths() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startBetween(t, b)
			fill(t, g, map[string]string{
				"app/shop": "x", "app/name": "the shop", "app/Shop": "SHOP", "app/other": "nothing", "zoo/shop": "x",
				"bin/1": "\x00\xff\xfe", "bin/\xff\xfe": "", "app/ä": "Ä", "\x00etcdrest/shop": "shop",
			})
			binary := base64.RawURLEncoding.EncodeToString([]byte("\xff\xfe"))
			for _, c := range []struct {
				query string
				want  []string
			}{
				{"contains=shop", []string{"app/name", "app/shop", "zoo/shop"}},
				{"contains=shop&prefix=app/", []string{"app/name", "app/shop"}},
				{"contains=shop&in=key", []string{"app/shop", "zoo/shop"}},
				{"contains=shop&in=value", []string{"app/name"}},
				{"contains=shop&in=value&keys_only", []string{"app/name"}},
				{"contains=shop&in=key&keys_only", []string{"app/shop", "zoo/shop"}},
				{"contains=shop&ignore_case&prefix=app/", []string{"app/Shop", "app/name", "app/shop"}},
				{"contains=%C3%84&ignore_case", []string{"app/ä"}},
				{"contains=" + binary + "&key_encoding=base64url", []string{"bin/1", "bin/\xff\xfe"}},
				{"contains=h&from=app/o&to=zoo/t", []string{"app/other", "app/shop", "zoo/shop"}},
				{"contains=nowhere", nil},
			} {
				keys, end := found(t, g.do(t, "GET", "/v1/search?"+c.query, "").want(t, 200).lines(t))
				if diff := cmp.Diff(c.want, keys); diff != "" {
					t.Errorf("%s (-want +got):\n%s", c.query, diff)
				}
				if end["more"] != false || end["cursor"] != nil {
					t.Errorf("%s: end %v", c.query, end)
				}
			}
			kv := g.do(t, "GET", "/v1/search?contains=the+shop&keys_only", "").want(t, 200).lines(t)[0]["kv"].(map[string]any)
			if kv["value"] != nil || kv["version"] != num(1) {
				t.Errorf("keys_only: got %v", kv)
			}
		})
	}
}

func TestASearchRefusesWhatItCannotMean(t *testing.T) {
	t.Parallel()
	g := start(t)
	fill(t, g, map[string]string{"a": "1", "b": "2"})
	for query, code := range map[string]string{
		"":                          "invalid_parameter",
		"contains=":                 "invalid_parameter",
		"contains":                  "invalid_parameter",
		"contains=x&in=values":      "invalid_parameter",
		"contains=x&budget=0":       "invalid_parameter",
		"contains=x&budget=1000001": "invalid_parameter",
		"contains=_w&key_encoding=base64url&ignore_case": "invalid_parameter",
		"contains=x&cursor=":                             "invalid_cursor",
		"contains=x&cursor=nonsense":                     "invalid_cursor",
		"contains=x&needle=y":                            "unknown_parameter",
	} {
		g.do(t, "GET", "/v1/search?"+query, "").problem(t, 400, code)
	}
	g.do(t, "GET", "/v1/search?contains=x&revision=100000", "").problem(t, 409, "future_revision")
	_, end := found(t, g.do(t, "GET", "/v1/search?contains=x&budget=1", "").want(t, 200).lines(t))
	cursor := url.QueryEscape(end["cursor"].(string))
	g.do(t, "GET", "/v1/search?contains=x&budget=2&encoding=base64&keys_only&cursor="+cursor, "").want(t, 200)
	for _, query := range []string{"contains=y", "contains=x&in=key", "contains=x&prefix=a", "contains=x&ignore_case", "contains=x&revision=2"} {
		g.do(t, "GET", "/v1/search?"+query+"&cursor="+cursor, "").problem(t, 400, "invalid_cursor")
	}
	g.do(t, "GET", "/v1/kv?cursor="+cursor, "").problem(t, 400, "invalid_cursor")
	compactNow(t, g)
	g.do(t, "GET", "/v1/search?contains=x&cursor="+cursor, "").problem(t, 410, "compacted")
}

func TestSearchLooksAtItsBudgetOfKeysAndGoesOnAtTheSameRevision(t *testing.T) {
	t.Parallel()
	for name, b := range bothPaths() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := startBetween(t, b)
			pairs := make(map[string]string)
			for i := range 3000 {
				pairs[fmt.Sprintf("k/%05d", i)] = fmt.Sprint("v", i%7)
			}
			fill(t, g, pairs)
			stop := make(chan struct{})
			var work sync.WaitGroup
			work.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						_, _ = g.oracle.Put(t.Context(), fmt.Sprintf("k/%05dx", i%3000), "v3")
					}
				}
			})
			var got []string
			var revision any
			cursor, pages := "", 0
			for more := true; more; pages++ {
				lines := g.do(t, "GET", "/v1/search?contains=v3&budget=700&prefix=k/"+cursor, "").want(t, 200).lines(t)
				keys, end := found(t, lines)
				got = append(got, keys...)
				if revision == nil {
					revision = end["revision"]
				}
				more = end["more"].(bool)
				if end["revision"] != revision || (more && end["scanned"] != num(700)) || (end["cursor"] != nil) != more {
					t.Fatalf("page %d: end %v, want revision %v", pages, end, revision)
				}
				if more {
					cursor = "&cursor=" + end["cursor"].(string)
				}
			}
			close(stop)
			work.Wait()
			at, _ := revision.(jsonNumber).Int64()
			var want []string
			for k, v := range contents(t, g, "k/", "k0", at) {
				if v == "v3" {
					want = append(want, k)
				}
			}
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" || pages < 5 {
				t.Errorf("%d pages; matches (-want +got):\n%s", pages, diff)
			}
		})
	}
}

func TestSearchSaysHowFarItIsAndStopsAtItsLimit(t *testing.T) {
	t.Parallel()
	g := start(t)
	pairs := make(map[string]string)
	for i := range 2500 {
		pairs[fmt.Sprintf("k/%05d", i)] = "v"
	}
	fill(t, g, pairs)
	lines := g.do(t, "GET", "/v1/search?contains=none", "").want(t, 200).lines(t)
	var got []string
	for _, l := range lines {
		got = append(got, fmt.Sprint(l["type"], " ", l["scanned"]))
	}
	if want := "progress 1000,progress 2000,end 2500"; strings.Join(got, ",") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	keys, end := found(t, g.do(t, "GET", "/v1/search?contains=k&limit=3", "").want(t, 200).lines(t))
	if len(keys) != 3 || end["more"] != true || end["scanned"] != num(3) {
		t.Errorf("limit=3: got %v and %v", keys, end)
	}
	keys, end = found(t, g.do(t, "GET", "/v1/search?contains=k&limit=3&cursor="+end["cursor"].(string), "").want(t, 200).lines(t))
	if len(keys) != 3 || keys[0] != "k/00003" {
		t.Errorf("the page behind: got %v and %v", keys, end)
	}
	keys, end = found(t, g.do(t, "GET", "/v1/search?contains=k&budget=2500", "").want(t, 200).lines(t))
	if len(keys) != 2500 || end["more"] != false {
		t.Errorf("a budget that is just enough: got %d matches and %v", len(keys), end)
	}
}
