package handlers_test

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
	"github.com/etcdrest/etcdrest/internal/telemetry"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// BenchmarkGetKey is the life of a read of one key, from the router to the last byte, before a real etcd; the listener
// and net/http's reading of the request are left out. It is run as it is, with nobody who wants notes, and with those who do.
func BenchmarkGetKey(b *testing.B) {
	quiet := slog.New(slog.DiscardHandler)
	b.Run("unobserved", func(b *testing.B) { benchmarkGetKey(b, nil) })
	b.Run("access", func(b *testing.B) {
		sink, err := telemetry.OpenSink(filepath.Join(b.TempDir(), "access"), io.Discard, io.Discard)
		if err != nil {
			b.Fatal(err)
		}
		log := telemetry.NewAccessLog(sink, quiet)
		ctx, cancel := context.WithCancel(b.Context())
		ended := make(chan struct{})
		go func() { log.Run(ctx); close(ended) }()
		defer func() { cancel(); <-ended }()
		benchmarkGetKey(b, &telemetry.Recorder{Access: log})
	})
	b.Run("traces-unsampled", func(b *testing.B) {
		traces, err := telemetry.NewTracing(b.Context(), telemetry.TracingOptions{Endpoint: "http://127.0.0.1:9/v1/traces", Logger: quiet})
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = traces.Close(b.Context()) }()
		benchmarkGetKey(b, &telemetry.Recorder{Traces: traces})
	})
}

func benchmarkGetKey(b *testing.B, recorder *telemetry.Recorder) {
	b.Helper()
	etcd := embedetcd.StartForTest(b)
	config := etcdclient.Config{Endpoints: []string{etcd.Endpoint()}}
	var options handlers.Options
	if recorder != nil {
		options.Recorder = recorder
		if recorder.Traces != nil {
			config.Tracer = recorder.Traces
		}
	}
	store, err := etcdclient.New(config)
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	api, err := handlers.New(store, options)
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
