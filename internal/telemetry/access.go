package telemetry

import (
	"log/slog"
	"net/http"
	"time"
)

// AccessLog writes one line for each finished request when the level is debug; above it, it only passes on. Keys are the callers' own bytes: the path is logged as it came over the wire,
// where they are percent-encoded; the query is left out, since it can hold a ticket.
func AccessLog(log *slog.Logger, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !log.Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(w, r)
			return
		}
		started := time.Now()
		meter := &meter{ResponseWriter: w}
		defer func() {
			log.LogAttrs(r.Context(), slog.LevelDebug, "request",
				slog.String("id", w.Header().Get("X-Request-Id")),
				slog.String("method", r.Method),
				slog.String("path", r.URL.EscapedPath()),
				slog.Int("status", meter.status),
				slog.Int64("bytes", meter.bytes),
				slog.Duration("duration", time.Since(started)),
				slog.String("remote", r.RemoteAddr),
				slog.String("protocol", r.Proto),
			)
		}()
		next.ServeHTTP(meter, r)
	})
}

// meter notes what passes. Unwrap keeps http.ResponseController working.
type meter struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (m *meter) Unwrap() http.ResponseWriter { return m.ResponseWriter }

func (m *meter) WriteHeader(status int) {
	if m.status < http.StatusOK { // informational heads come before the real one
		m.status = status
	}
	m.ResponseWriter.WriteHeader(status)
}

func (m *meter) Write(b []byte) (int, error) {
	if m.status == 0 {
		m.status = http.StatusOK
	}
	n, err := m.ResponseWriter.Write(b)
	m.bytes += int64(n)
	return n, err
}

// Flush is for handlers that ask for http.Flusher by its type.
func (m *meter) Flush() { _ = http.NewResponseController(m.ResponseWriter).Flush() }
