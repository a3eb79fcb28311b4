package handlers

import (
	"errors"
	"io"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// importTotals are the counts of an import.
type importTotals struct {
	lines                int64 // kv lines read
	created, overwritten int64
	skipped, failed      int64 // faults: the key existed; all others
	leases               int64 // of the written, those that had a lease
	lastLine             int64
	revision             int64
}

// account counts the lines of the batch and reports the faults, up to the first line that nothing became of.
func (im *importer) account() {
	t := &im.totals
	for i := range im.batch.lines {
		l := &im.batch.lines[i]
		switch {
		case l.skipped:
			t.skipped++
		case l.fault != nil:
			t.failed++
		case !l.written:
			return
		case l.existed:
			t.overwritten++
		default:
			t.created++
		}
		if l.fault != nil {
			im.call.body = l.appendFault(im.call.body)
		} else if l.lease != 0 {
			t.leases++
		}
		t.lastLine = l.number
	}
}

// heldReport is how much of the report is held back while the body is being read.
const heldReport = 1 << 20

// report sends what there is of the report once it is too long to be held back. From then on the answer is written while
// the body is read, which HTTP/1 servers do only when told to: they discard the rest of the body otherwise.
func (im *importer) report() error {
	c := im.call
	if !c.streamed {
		if len(c.body) < heldReport {
			return nil
		}
		_ = http.NewResponseController(c.w).EnableFullDuplex() // a writer that has no such switch needs none
		im.start()
	}
	return c.flushLines(false)
}

// start begins the answer with what was held back. Its revision is that of the last batch, or when there was none, the
// present one, which is worth no failure.
func (im *importer) start() {
	c := im.call
	held := c.body
	c.body, c.revision = nil, im.totals.revision
	if c.revision == 0 {
		_, _ = c.pin([]byte(keyrange.FirstKey), 0, consistency{})
	}
	c.startStream()
	c.body = held
}

// finish ends the report of an import that took the whole body.
func (im *importer) finish() {
	if !im.call.streamed {
		im.start()
	}
	c := im.call
	c.body = append(c.body, `{"type":"end",`...)
	c.body = im.appendTotals(c.body)
	c.body = append(c.body, "}\n"...)
}

// stop ends an import that cannot go on. When nothing was written and nothing reported, it is a problem like any other;
// else the report's last line, with the totals so far.
func (im *importer) stop(err error) error {
	e := extended(problem.From(err))
	if im.dryRun || e.Outcome == "" && e.Extra["in_doubt"] == nil {
		e.Outcome = problem.NotApplied // of what stands behind last_line_applied
	}
	c := im.call
	if !c.streamed && len(c.body) == 0 && im.totals.lastLine == 0 {
		return e
	}
	if !c.streamed {
		im.start()
	}
	totals := append(im.appendTotals([]byte{'{'}), '}')
	return e.With("last_line_applied", im.totals.lastLine).With("totals", rawJSON(totals))
}

// appendTotals appends the members of the totals, without braces.
func (im *importer) appendTotals(dst []byte) []byte {
	t := &im.totals
	for _, m := range []struct {
		name string
		n    int64
	}{
		{`"lines":`, t.lines},
		{`,"applied":`, t.created + t.overwritten},
		{`,"created":`, t.created},
		{`,"overwritten":`, t.overwritten},
		{`,"skipped":`, t.skipped},
		{`,"failed":`, t.failed},
		{`,"leases_dropped":`, t.leases},
		{`,"last_line_applied":`, t.lastLine},
	} {
		dst = strconv.AppendInt(append(dst, m.name...), m.n, 10)
	}
	if t.revision > 0 {
		dst = strconv.AppendInt(append(dst, `,"revision":`...), t.revision, 10)
	}
	if im.dryRun {
		dst = append(dst, `,"dry_run":true`...)
	}
	return dst
}

// patientReader reads a body that may take long, as long as it keeps coming.
type patientReader struct {
	body     io.Reader
	control  *http.ResponseController
	patience time.Duration
	// deadline is that of the whole call; zero for none.
	deadline time.Time
}

func newPatientReader(c *call) *patientReader {
	p := &patientReader{body: c.r.Body, control: http.NewResponseController(c.w), patience: c.api.options.RequestTimeout}
	p.deadline, _ = c.ctx().Deadline()
	return p
}

// Read reads what comes next, for which it waits no longer than its patience.
func (p *patientReader) Read(b []byte) (int, error) {
	until := time.Now().Add(p.patience)
	if !p.deadline.IsZero() && p.deadline.Before(until) {
		until = p.deadline
	}
	_ = p.control.SetReadDeadline(until) // not every writer has deadlines (tests)
	n, err := p.body.Read(b)
	switch {
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = problem.New(problem.DeadlineExceeded, "nothing more of the body came in time").Because(err)
	default: // the server watches the connection from here on, and must not take the deadline for the caller's leaving
		_ = p.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
