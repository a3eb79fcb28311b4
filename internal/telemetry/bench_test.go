package telemetry_test

import (
	"context"
	"io"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/telemetry"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// BenchmarkAccessLog is what a line costs, its way to a file included.
func BenchmarkAccessLog(b *testing.B) {
	sink, err := telemetry.OpenSink(filepath.Join(b.TempDir(), "access"), io.Discard, io.Discard)
	if err != nil {
		b.Fatal(err)
	}
	log := telemetry.NewAccessLog(sink, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		log.Run(ctx)
	}()
	recorder := &telemetry.Recorder{Access: log}
	request := httptest.NewRequestWithContext(b.Context(), "GET", "/v1/kv/app/name", nil)
	b.ReportAllocs()
	for b.Loop() {
		t := &trail.Request{
			ID: "0123456789abcdef", Method: "GET", Protocol: "HTTP/1.1", Remote: "127.0.0.1:50000", Started: time.Now(),
			Route: "/v1/kv/*", Operation: "getKey", Status: 200, KeyPrefix: "app/",
		}
		ctx := trail.With(recorder.Begin(request, t), t)
		t.Begin(func() { recorder.End(ctx, t) })
		t.Done()
	}
	cancel()
	<-ended
}
