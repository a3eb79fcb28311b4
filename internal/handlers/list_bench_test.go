package handlers_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// discard is an http.ResponseWriter that keeps nothing, so that the benchmark measures the gateway.
type discard struct {
	header http.Header
	status int
	bytes  int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(b []byte) (int, error) { d.bytes += len(b); return len(b), nil }

// BenchmarkList is a list of 1,000 keys with values of 256 bytes, from the router to the last byte. etcd runs in the same
// process, so the time and allocations of both are in it; BenchmarkRange is etcd's and the client's part alone.
func BenchmarkList(b *testing.B) {
	api, _ := benchmarkedAPI(b)
	for _, query := range []string{"prefix=list/", "prefix=list/&keys_only=true", "prefix=list/&limit=500", "prefix=list/&order=desc", "prefix=ten/"} {
		b.Run(query, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				w := &discard{header: make(http.Header)}
				api.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), "GET", "http://localhost/v1/kv?"+query, nil))
				if w.status != 200 {
					b.Fatalf("status %d", w.status)
				}
				b.SetBytes(int64(w.bytes))
			}
		})
	}
}

// BenchmarkRange is the same list by the client alone.
func BenchmarkRange(b *testing.B) {
	_, store := benchmarkedAPI(b)
	b.ReportAllocs()
	for b.Loop() {
		answer, err := store.Range(b.Context(), &wire.RangeRequest{Key: []byte("list/"), End: []byte("list0")})
		if err != nil || answer.KVs.Len() != 1000 {
			b.Fatal(err)
		}
		answer.Free()
	}
}

// BenchmarkListEncoding is the gateway's own part of the list: the same answer from memory instead of from etcd.
func BenchmarkListEncoding(b *testing.B) {
	_, store := benchmarkedAPI(b)
	answer, err := store.Range(b.Context(), &wire.RangeRequest{Key: []byte("list/"), End: []byte("list0")})
	if err != nil {
		b.Fatal(err)
	}
	api, err := handlers.New(&canned{Backend: store, answer: answer}, handlers.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		w := &discard{header: make(http.Header)}
		api.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), "GET", "http://localhost/v1/kv?prefix=list/", nil))
		if w.status != 200 || w.bytes < 256_000 {
			b.Fatalf("status %d, %d bytes", w.status, w.bytes)
		}
		b.SetBytes(int64(w.bytes))
	}
}

// canned gives one answer that etcd gave, again and again.
type canned struct {
	handlers.Backend

	answer *wire.RangeResponse
}

func (*canned) RangeStream(context.Context, *wire.RangeRequest) (*etcdclient.RangeStream, error) {
	return nil, problem.New(problem.NotSupported, "no RangeStream")
}

func (s *canned) Range(context.Context, *wire.RangeRequest) (*wire.RangeResponse, error) {
	again := *s.answer
	again.Own(nil) // it stays
	return &again, nil
}

func benchmarkedAPI(b *testing.B) (*handlers.API, *etcdclient.Client) {
	b.Helper()
	etcd := embedetcd.StartForTest(b)
	store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = store.Close() })
	api, err := handlers.New(store, handlers.Options{})
	if err != nil {
		b.Fatal(err)
	}
	value := bytes.Repeat([]byte("value \"8\" "), 26)[:256]
	for _, set := range []struct {
		prefix string
		n      int
	}{{"list/", 1000}, {"ten/", 10}} {
		for i := range set.n {
			if _, err := store.Put(b.Context(), &wire.PutRequest{Key: fmt.Appendf(nil, "%s%032d", set.prefix, i), Value: value}); err != nil {
				b.Fatal(err)
			}
		}
	}
	return api, store
}
