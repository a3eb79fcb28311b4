package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// AccessLog writes a line of JSON for each request, and two for a stream: one when it begins, one when it ends. Requests do
// not wait for it: lines are gathered in memory, bounded, and written by Run; what a sink that is too slow leaves no room for
// is dropped and counted. It is safe for concurrent use; make it with NewAccessLog.
type AccessLog struct {
	sink    *Sink
	log     *slog.Logger
	handler slog.Handler
	dropped prometheus.Counter

	mu      sync.Mutex
	pending []byte
	kick    chan struct{} // capacity 1, never closed
}

// mostPending bounds the lines that wait to be written, in bytes.
const mostPending = 1 << 20

// NewAccessLog makes a log that writes to the sink. Log takes what is wrong with that.
func NewAccessLog(sink *Sink, log *slog.Logger) *AccessLog {
	a := &AccessLog{sink: sink, log: log, kick: make(chan struct{}, 1), dropped: prometheus.NewCounter(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: "access_log", Name: "dropped_total",
		Help: "Lines of the access log that could not be written, or came faster than they could be.",
	})}
	a.handler = slog.NewJSONHandler(gather{a}, nil)
	return a
}

// Run writes what was gathered until ctx ends, and then the rest.
func (a *AccessLog) Run(ctx context.Context) {
	var spare []byte
	failed := false
	for over := false; !over; {
		select {
		case <-a.kick:
		case <-ctx.Done():
			over = true
		}
		a.mu.Lock()
		lines := a.pending
		a.pending = spare[:0]
		a.mu.Unlock()
		spare = lines
		if len(lines) == 0 {
			continue
		}
		_, err := a.sink.Write(lines)
		if err != nil {
			a.dropped.Add(float64(countLines(lines)))
			if !failed {
				a.log.ErrorContext(ctx, "the access log cannot be written; its lines are dropped", "cause", err.Error())
			}
		}
		failed = err != nil
	}
}

func countLines(b []byte) (n int) {
	for _, c := range b {
		if c == '\n' {
			n++
		}
	}
	return n
}

// gather is where the handler writes each line.
type gather struct{ *AccessLog }

func (g gather) Write(line []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.pending)+len(line) > mostPending {
		g.dropped.Inc()
		return len(line), nil
	}
	if isSafe(line) {
		g.pending = append(g.pending, line...)
	} else {
		g.pending = appendSafe(g.pending, line)
	}
	select {
	case g.kick <- struct{}{}:
	default:
	}
	return len(line), nil
}

// began writes the first line of a stream.
func (a *AccessLog) began(ctx context.Context, t *trail.Request) { a.line(ctx, "stream", t, false) }

// ended writes the line of a request, or the last one of a stream.
func (a *AccessLog) ended(ctx context.Context, t *trail.Request) {
	if t.Transport() != "" && t.Status < 300 {
		a.line(ctx, "stream ended", t, true)
		return
	}
	a.line(ctx, "request", t, true)
}

// The longest words of callers that a line holds, in bytes.
const (
	mostMethod    = 16
	mostPrincipal = 128
)

func (a *AccessLog) line(ctx context.Context, message string, t *trail.Request, over bool) {
	now := time.Now()
	r := slog.NewRecord(now, slog.LevelInfo, message, 0)
	r.AddAttrs(
		slog.String("request_id", t.ID),
		slog.String("principal", trail.Printable(t.Principal(), mostPrincipal)),
		slog.String("remote", t.Remote),
		slog.String("protocol", t.Protocol),
		slog.String("method", trail.Printable(t.Method, mostMethod)),
		slog.String("route", t.Route),
		slog.String("operation", t.Operation),
		slog.Int("status", t.Status),
	)
	if t.Code != "" {
		r.AddAttrs(slog.String("code", t.Code))
	}
	if t.KeyPrefix != "" {
		r.AddAttrs(slog.String("key_prefix", t.KeyPrefix))
	}
	if transport := t.Transport(); transport != "" {
		r.AddAttrs(slog.String("transport", transport))
		if over {
			r.AddAttrs(slog.Int64("messages", t.Messages()))
		}
	}
	if over {
		r.AddAttrs(
			slog.Int64("bytes_in", t.Received()), slog.Int64("bytes_out", t.Sent()),
			slog.Float64("duration_ms", milliseconds(now.Sub(t.Started))), slog.Float64("etcd_ms", milliseconds(t.Upstream())),
		)
	}
	_ = a.handler.Handle(ctx, r) // gather never fails
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Describe is prometheus.Collector's.
func (a *AccessLog) Describe(out chan<- *prometheus.Desc) { a.dropped.Describe(out) }

// Collect is prometheus.Collector's.
func (a *AccessLog) Collect(out chan<- prometheus.Metric) { a.dropped.Collect(out) }
