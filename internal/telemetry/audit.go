package telemetry

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/etcdrest/etcdrest/internal/trail"
)

// AuditLog writes a line of JSON for each write that the gateway asks of etcd, and for each request to write that asked etcd
// for nothing: who, what, with what outcome. A line is written before its request is answered, but for refusals that repeat. It is safe for concurrent
// use; make it with NewAuditLog.
type AuditLog struct {
	sink   *Sink
	strict bool
	log    *slog.Logger
	lines  *prometheus.CounterVec

	failing atomic.Bool
	mu      sync.Mutex
	// owed are lines that could not be written yet. Only a strict log keeps them, and refuses further writes meanwhile, so
	// that there are no more than requests were under way.
	owed []byte

	repeats *repeats
}

// mostOwed bounds what is owed, in bytes; more than that is lost, and counted.
const mostOwed = 16 << 20

// NewAuditLog makes a log that writes to the sink. A strict one has writes refused while it cannot be written.
func NewAuditLog(sink *Sink, strict bool, log *slog.Logger) *AuditLog {
	a := &AuditLog{sink: sink, strict: strict, log: log, lines: prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespace, Subsystem: "audit_log", Name: "lines_total",
		Help: "Lines of the audit log, by what became of them: written, or lost.",
	}, []string{"result"})}
	a.lines.WithLabelValues("written")
	a.lines.WithLabelValues("lost")
	a.repeats = newRepeats(func(line *auditLine) { a.write(line.encode()) })
	return a
}

// errOwed is why a strict log refuses writes.
var errOwed = errors.New("lines of earlier writes wait to be written")

// Ready tells whether a write would be recorded. A log that failed is tried again here, by writing what it owes.
func (a *AuditLog) Ready() error {
	if !a.failing.Load() {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.owed) > 0 && a.settleLocked() != nil {
		return errOwed
	}
	return nil
}

// settleLocked writes what is owed.
func (a *AuditLog) settleLocked() error {
	n, err := a.sink.Write(a.owed)
	if err != nil {
		if whole := bytes.LastIndexByte(a.owed[:n], '\n') + 1; whole > 0 {
			a.owed = a.owed[whole:]
		}
		return err
	}
	a.lines.WithLabelValues("written").Add(float64(countLines(a.owed)))
	a.owed = nil
	a.failing.Store(false)
	a.log.Info("the audit log can be written again") //nolint:sloglint // it is nobody's context
	return nil
}

// write writes one line, or keeps it.
func (a *AuditLog) write(line []byte) {
	if !isSafe(line) {
		line = appendSafe(nil, line)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.owed) == 0 {
		_, err := a.sink.Write(line)
		if err == nil {
			a.failing.Store(false)
			a.lines.WithLabelValues("written").Inc()
			return
		}
		if !a.failing.Swap(true) {
			a.log.Error("the audit log cannot be written", "refuses_writes", a.strict, "cause", err.Error()) //nolint:sloglint // it is nobody's context
		}
	}
	if !a.strict || len(a.owed)+len(line) > mostOwed {
		a.lines.WithLabelValues("lost").Inc()
		return
	}
	a.owed = append(a.owed, line...)
}

// Close writes what is owed, if that can be done by now.
func (a *AuditLog) Close() error {
	a.repeats.close()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.owed) == 0 {
		return nil
	}
	lines := countLines(a.owed)
	if err := a.settleLocked(); err != nil {
		return fmt.Errorf("%d lines of the audit log are lost: %w", lines, err)
	}
	return nil
}

// auditLine is one line, in the order of its members.
type auditLine struct {
	Time      time.Time         `json:"time"`
	RequestID string            `json:"request_id,omitempty"`
	Principal string            `json:"principal"`
	Remote    string            `json:"remote,omitempty"`
	Operation string            `json:"operation,omitempty"`
	RPC       string            `json:"rpc,omitempty"`
	Event     string            `json:"event,omitempty"`
	Ops       []auditOp         `json:"ops,omitempty"`
	Lease     string            `json:"lease,omitempty"`
	TTL       int64             `json:"ttl,omitempty"`
	Details   map[string]string `json:"details,omitempty"`
	Outcome   string            `json:"outcome"`
	Error     string            `json:"error,omitempty"`
	Status    int               `json:"status,omitempty"`
	Revision  int64             `json:"revision,omitempty"`
	// Repeated is how many further refusals like this one the line stands for.
	Repeated int64 `json:"repeated,omitempty"`
}

// auditOp is one write; a key that is not UTF-8 is in base64.
type auditOp struct {
	Op        string `json:"op"`
	Key       string `json:"key,omitempty"`
	KeyBase64 string `json:"key_base64,omitempty"`
	End       string `json:"range_end,omitempty"`
	EndBase64 string `json:"range_end_base64,omitempty"`
	Lease     string `json:"lease,omitempty"`
	Before    *int64 `json:"mod_revision_before,omitempty"`
	Deleted   *int64 `json:"deleted,omitempty"`
}

// Written takes a write that was asked of etcd. Without a request in ctx, it was the gateway itself that asked.
func (a *AuditLog) Written(ctx context.Context, w *trail.Write) {
	line := auditLine{
		RPC: w.RPC, Event: w.Event, TTL: w.TTL, Outcome: string(w.Outcome), Error: w.Error, Revision: w.Revision, Lease: leaseID(w.Lease),
	}
	t := trail.From(ctx)
	line.of(t)
	t.AddWrite()
	for i := range w.Ops {
		line.Ops = append(line.Ops, opOf(&w.Ops[i]))
	}
	for _, d := range w.Details {
		if line.Details == nil {
			line.Details = make(map[string]string, len(w.Details))
		}
		text, binary := spell([]byte(d.Value))
		if binary != "" {
			line.Details[d.Name+"_base64"] = binary
		} else {
			line.Details[d.Name] = text
		}
	}
	a.write(line.encode())
}

// asked takes a request to write that came to its end without asking etcd: it was refused, or there was nothing to do. Refusals
// that are alike share lines.
func (a *AuditLog) asked(t *trail.Request) {
	line := auditLine{Outcome: "not_applied", Error: t.Code, Status: t.Status}
	line.of(t)
	switch {
	case t.Applied:
		line.Outcome = string(trail.Applied)
	case t.Outcome != "":
		line.Outcome = t.Outcome
	}
	if t.Status >= http.StatusBadRequest {
		a.repeats.add(&line)
		return
	}
	a.write(line.encode())
}

// byGateway is the principal of what the gateway does for itself.
const byGateway = "the gateway itself"

func (l *auditLine) of(t *trail.Request) {
	l.Time = time.Now()
	if t == nil {
		l.Principal = byGateway
		return
	}
	l.RequestID, l.Principal, l.Remote, l.Operation = t.ID, t.Principal(), t.Remote, t.Operation
}

func (l *auditLine) encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(l) //nolint:errchkjson // the clock gives no year that could fail
	return b.Bytes()
}

func opOf(w *trail.Op) auditOp {
	op := auditOp{Op: w.Kind, Lease: leaseID(w.Lease), Before: known(w.Before), Deleted: known(w.Deleted)}
	op.Key, op.KeyBase64 = spell(w.Key)
	op.End, op.EndBase64 = spell(w.End)
	return op
}

func known(n int64) *int64 {
	if n == trail.Unknown {
		return nil
	}
	return &n
}

func leaseID(id int64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%016x", uint64(id)) //nolint:gosec // the bits are the id
}

// spell gives text as it is, and other bytes in base64.
func spell(b []byte) (text, binary string) {
	if utf8.Valid(b) {
		return string(b), ""
	}
	return "", base64.StdEncoding.EncodeToString(b)
}

// Describe is prometheus.Collector's.
func (a *AuditLog) Describe(out chan<- *prometheus.Desc) { a.lines.Describe(out) }

// Collect is prometheus.Collector's.
func (a *AuditLog) Collect(out chan<- prometheus.Metric) { a.lines.Collect(out) }
