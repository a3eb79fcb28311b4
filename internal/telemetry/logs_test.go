package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/telemetry"
	"github.com/etcdrest/etcdrest/internal/trail"
)

// disk is a file on a disk that can be full.
type disk struct {
	bytes.Buffer
	free int // bytes, -1 for enough
}

func (d *disk) Write(p []byte) (int, error) {
	if d.free < 0 || len(p) <= d.free {
		return d.Buffer.Write(p)
	}
	n, _ := d.Buffer.Write(p[:d.free])
	d.free = 0
	return n, errors.New("no space left on device")
}

func sinkTo(t *testing.T, d *disk) *telemetry.Sink {
	t.Helper()
	sink, err := telemetry.OpenSink("stdout", d, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sink
}

func written(key string) *trail.Write {
	return &trail.Write{
		RPC: "KV/Put", Outcome: trail.Applied, Revision: 7,
		Ops: []trail.Op{{Kind: "put", Key: []byte(key), Before: trail.Unknown, Deleted: trail.Unknown}},
	}
}

func TestAnAuditLogThatCouldNotBeWrittenPaysWhatItOwes(t *testing.T) {
	t.Parallel()
	d := &disk{free: -1}
	log := telemetry.NewAuditLog(sinkTo(t, d), true, slog.New(slog.DiscardHandler))
	log.Written(t.Context(), written("one"))
	if err := log.Ready(); err != nil {
		t.Fatalf("while all is well: got %v", err)
	}
	d.free = 20 // in the middle of a line
	log.Written(t.Context(), written("two"))
	log.Written(t.Context(), written("three")) // which was under way
	for range 2 {
		if log.Ready() == nil {
			t.Fatal("while the disk is full: ready, want a refusal")
		}
	}
	d.free = -1
	if err := log.Ready(); err != nil {
		t.Fatalf("when there is room again: got %v", err)
	}
	log.Written(t.Context(), written("four"))
	var keys []string
	for line := range strings.Lines(d.String()) {
		var l struct{ Ops []struct{ Key string } }
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			if len(line) != 21 {
				t.Errorf("got %q, which is neither a line nor the piece that fitted", line)
			}
			continue
		}
		keys = append(keys, l.Ops[0].Key)
	}
	if got := strings.Join(keys, " "); got != "one two three four" {
		t.Errorf("keys: got %s, want each write once and in order", got)
	}
	want := `
# HELP etcdrest_audit_log_lines_total Lines of the audit log, by what became of them: written, or lost.
# TYPE etcdrest_audit_log_lines_total counter
etcdrest_audit_log_lines_total{result="lost"} 0
etcdrest_audit_log_lines_total{result="written"} 4
`
	if err := testutil.CollectAndCompare(log, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestALaxAuditLogLosesLinesAndCountsThem(t *testing.T) {
	t.Parallel()
	d := &disk{}
	log := telemetry.NewAuditLog(sinkTo(t, d), false, slog.New(slog.DiscardHandler))
	log.Written(t.Context(), written("lost"))
	if err := log.Ready(); err != nil {
		t.Errorf("got %v, want that writes go on", err)
	}
	if err := log.Close(); err != nil {
		t.Errorf("close: got %v", err)
	}
	d.free = -1
	log.Written(t.Context(), written("kept"))
	if !strings.Contains(d.String(), "kept") || strings.Contains(d.String(), "lost") {
		t.Errorf("got %q", d.String())
	}
}

func TestAStrictAuditLogSaysWhatIsLostAtTheEnd(t *testing.T) {
	t.Parallel()
	log := telemetry.NewAuditLog(sinkTo(t, &disk{}), true, slog.New(slog.DiscardHandler))
	log.Written(t.Context(), written("k"))
	if err := log.Close(); err == nil || !strings.Contains(err.Error(), "1 lines of the audit log are lost") {
		t.Errorf("got %v, want how many lines are lost", err)
	}
}

func TestAuditLinesOfTheGatewayItself(t *testing.T) {
	t.Parallel()
	d := &disk{free: -1}
	log := telemetry.NewAuditLog(sinkTo(t, d), true, slog.New(slog.DiscardHandler))
	w := written("\xff\u202e\u009b")
	w.Outcome, w.Error, w.Details = problem.Unknown, "ConnectionLost", []trail.Detail{{Name: "user", Value: "\xfe"}, {Name: "role", Value: "a\u2028b"}}
	log.Written(t.Context(), w)
	line := d.String()
	for _, want := range []string{`"principal":"the gateway itself"`, `"outcome":"unknown"`, `"user_base64":"/g=="`, `"role":"a\u2028b"`} {
		if !strings.Contains(line, want) {
			t.Errorf("got %s, want %s in it", line, want)
		}
	}
	if strings.ContainsAny(line, "\u2028\u009b\u202e") || !strings.Contains(line, `"key_base64":"/`) {
		t.Errorf("got %q, want a key that is no text in base64, and nothing that does not print", line)
	}
}

// stuck is a pipe that nobody reads.
type stuck struct {
	entered chan struct{}
	leave   chan struct{}
	once    sync.Once
	disk    disk
}

func (s *stuck) Write(p []byte) (int, error) {
	s.once.Do(func() {
		close(s.entered)
		<-s.leave
	})
	return s.disk.Write(p)
}

func TestRequestsDoNotWaitForTheAccessLog(t *testing.T) {
	t.Parallel()
	pipe := &stuck{entered: make(chan struct{}), leave: make(chan struct{}), disk: disk{free: -1}}
	sink, err := telemetry.OpenSink("stdout", pipe, nil)
	if err != nil {
		t.Fatal(err)
	}
	log := telemetry.NewAccessLog(sink, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		log.Run(ctx)
	}()
	recorder := &telemetry.Recorder{Access: log}
	line := func() {
		r := &trail.Request{ID: "r", Method: "GET", Started: time.Now(), Status: 200, KeyPrefix: strings.Repeat("k", 1000)}
		recorder.End(t.Context(), r)
	}
	line()
	<-pipe.entered
	const n = 2000 // of more than a kilobyte each: twice as much as may wait
	for range n {
		line()
	}
	dropped := testutil.ToFloat64(log)
	if dropped < n/4 {
		t.Errorf("dropped: got %v of %d lines, want those that there was no room for", dropped, n)
	}
	close(pipe.leave)
	cancel()
	<-ended
	if got := strings.Count(pipe.disk.String(), "\n"); got != n+1-int(dropped) {
		t.Errorf("written: got %d lines, want %d", got, n+1-int(dropped))
	}
}
