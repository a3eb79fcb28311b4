package handlers_test

import (
	"net/http/httptest"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// BenchmarkGetKey is the life of a read of one key, from the router to the last byte, before a real etcd; the listener
// and net/http's reading of the request are left out.
func BenchmarkGetKey(b *testing.B) {
	etcd := embedetcd.StartForTest(b)
	store, err := etcdclient.New(etcdclient.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	api, err := handlers.New(store, handlers.Options{})
	if err != nil {
		b.Fatal(err)
	}
	if _, err := store.Put(b.Context(), &wire.PutRequest{Key: []byte("app/name"), Value: make([]byte, 256)}); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w := httptest.NewRecorder()
			api.ServeHTTP(w, httptest.NewRequestWithContext(b.Context(), "GET", "http://localhost/v1/kv/app/name", nil))
			if w.Code != 200 {
				b.Fatalf("status %d: %s", w.Code, w.Body)
			}
		}
	})
}
