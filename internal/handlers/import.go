package handlers

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// The modes of an import.
const (
	modeCreate    = "create"
	modeOverwrite = "overwrite"
)

// importKeys answers POST /v1/import: it takes what GET /v1/export writes and puts it, in batches of one transaction
// each. mode=create (the default) leaves existing keys alone, whoever makes them and when; mode=overwrite replaces them.
// Keys that the body does not name are left alone. Leases belong to the cluster that granted them: keys come back without
// one, and the report counts those that had one.
//
// The answer is a report in NDJSON, in the order of the lines: a line of type fault for each line that was not taken
// (which keeps none of the others from being taken), and last one line end with the totals, or error. Up to and including
// the line last_line_applied everything was written or has its fault in the report; behind it nothing was written, unless
// in_doubt names the lines of a batch whose outcome is not known. What goes wrong before anything was written is a
// problem by status.
//
// The body may have any length, since it is read line by line. One that fits the limit of JSON bodies is read whole and
// refused as truncated before anything is written; a longer one can be found out only at its end. The report is held back
// while the body is read, for callers that read only once they have sent all; beyond 1 MiB of faults it is sent meanwhile.
//
// Like an export, an import lives as long as it makes progress: the default time-out bounds each read of the body and
// each transaction.
func (a *API) importKeys(c *call) error {
	im := &importer{
		call:    c,
		mode:    c.query.Choice("mode", modeCreate, modeCreate, modeOverwrite),
		dryRun:  c.query.Boolean("dry_run"),
		partial: c.query.Boolean("partial"),
	}
	if err := c.query.Done(); err != nil {
		return err
	}
	if err := acceptType(c.r.Header, ndjsonType, jsonType, "application/ndjson", "application/jsonl"); err != nil {
		return err
	}
	if !announced(c.r) {
		return problem.New(problem.LengthRequired, "send Content-Length, or the body chunked")
	}
	if err := im.open(); err != nil {
		return c.notApplied(err)
	}
	im.batch = newImportBatch(im.mode, im.dryRun)
	if err := im.run(); err != nil {
		return im.stop(err)
	}
	im.finish()
	return nil
}

// importer is one import under way.
type importer struct {
	call            *call
	mode            string
	dryRun, partial bool

	lines  *lineReader
	batch  importBatch
	totals importTotals
}

// open prepares the reading of the body. A body that fits is read whole, and its end is looked at.
func (im *importer) open() error {
	c := im.call
	limit := c.api.options.MaxBodyBytes
	body := newPatientReader(c)
	if c.r.ContentLength > limit {
		im.lines = newLineReader(body, limit)
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(body, limit+1))
	switch {
	case err != nil:
		return bodyError(err)
	case int64(len(head)) > limit:
		im.lines = newLineReader(io.MultiReader(bytes.NewReader(head), body), limit)
		return nil
	case !im.partial:
		if err := c.api.checkWhole(head); err != nil {
			return err
		}
	}
	im.lines = newLineReader(bytes.NewReader(head), limit)
	return nil
}

// checkWhole looks whether the body ends as a whole export does.
func (a *API) checkWhole(body []byte) error {
	var last []byte
	n := int64(0)
	for line := range bytes.Lines(body) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			last = line
			n++
		}
	}
	l := a.readLine(last, n)
	switch {
	case l.fault != nil || l.kind == lineKV:
		return noEnd()
	case l.kind == lineError:
		return endedByError()
	case l.count != n-1:
		return miscounted(l.count, n-1)
	}
	return nil
}

const hintPartial = "export again, or send partial=true to take what is there"

func noEnd() *problem.Error {
	return problem.New(problem.Truncated, "the body has no end line, so it is only the beginning of an export").WithHint(hintPartial)
}

func endedByError() *problem.Error {
	return problem.New(problem.Truncated, "the export ended with an error line, so it is only a part of the range").WithHint(hintPartial)
}

func miscounted(want, got int64) *problem.Error {
	return problem.New(problem.Truncated, "the end line counts %d lines, and %d came before it", want, got).WithHint(hintPartial)
}

// run reads and applies all lines.
func (im *importer) run() error {
	for {
		text, err := im.lines.next()
		switch {
		case errors.Is(err, io.EOF) && !im.partial:
			return noEnd()
		case errors.Is(err, io.EOF):
			return im.flush()
		case err != nil:
			return im.unreadable(err)
		}
		l := im.call.api.readLine(text, im.lines.number)
		if l.kind != lineKV {
			return im.last(&l)
		}
		im.totals.lines++
		if !im.batch.fits(&l) {
			if err := im.flush(); err != nil {
				return err
			}
		}
		im.batch.add(l)
	}
}

// unreadable ends the import at a line that cannot be read.
func (im *importer) unreadable(err error) error {
	if !errors.Is(err, errLineTooLong) {
		return bodyError(err)
	}
	if err := im.flush(); err != nil {
		return err
	}
	limit := int64(im.lines.limit)
	l := importLine{number: im.lines.number, fault: problem.New(problem.RequestTooLarge, "a line may have at most %d bytes", limit)}
	im.totals.failed++
	im.call.body = l.appendFault(im.call.body)
	return problem.New(problem.RequestTooLarge, "line %d has more than %d bytes; nothing behind it was read", l.number, limit).With("limit", limit)
}

// last judges the line that ends the export, applies what waits, and sees that nothing follows.
func (im *importer) last(l *importLine) error {
	switch {
	case im.partial:
	case l.kind == lineError:
		return endedByError()
	case l.count != im.totals.lines:
		return miscounted(l.count, im.totals.lines)
	}
	if err := im.flush(); err != nil {
		return err
	}
	switch _, err := im.lines.next(); {
	case err == nil:
		return problem.New(problem.InvalidArgument, "line %d stands behind the end of the export; send one export at a time", im.lines.number)
	case !errors.Is(err, io.EOF):
		return im.unreadable(err)
	}
	return nil
}

// flush applies the batch and reports what became of its lines.
func (im *importer) flush() error {
	err := im.apply(im.call.ctx(), sound(im.batch.lines))
	im.account()
	im.batch.reset()
	if err != nil {
		return err
	}
	return im.report()
}

// apply writes the lines in one transaction. When etcd refuses it for a reason that one of the lines may have given, the
// halves are tried by themselves, until the line at fault stands alone.
func (im *importer) apply(ctx context.Context, lines []*importLine) error {
	if len(lines) == 0 {
		return nil
	}
	answer, err := im.write(ctx, lines)
	if err == nil {
		defer answer.Free()
		return im.settle(lines, answer)
	}
	e := problem.From(err)
	switch {
	case !im.dryRun && outcome(e) != problem.NotApplied:
		return inDoubt(e, lines)
	case !ofOneLine(e.Code):
		return err
	case len(lines) == 1:
		lines[0].fault = e
		return nil
	case e.Code == problem.TooManyOperations:
		im.batch.most = max(len(lines)/2, 1)
	}
	half := len(lines) / 2
	if err := im.apply(ctx, lines[:half]); err != nil {
		return err
	}
	return im.apply(ctx, lines[half:])
}

// settle notes for each line what its transaction did.
func (im *importer) settle(lines []*importLine, answer *wire.TxnResponse) error {
	im.totals.revision = answer.Header.Revision
	for i, l := range lines {
		existed, err := existed(answer, i)
		if err != nil {
			return inDoubt(problem.From(err), lines)
		}
		if l.existed = existed; existed && im.mode == modeCreate {
			l.skipped = true
			l.fault = problem.New(problem.AlreadyExists, "the key exists, and mode=create leaves it as it is")
			continue
		}
		l.written = true
	}
	return nil
}

// inDoubt names the lines of which nobody knows whether they were written.
func inDoubt(e *problem.Error, lines []*importLine) error {
	return extended(e).With("in_doubt", map[string]int64{
		"first_line": lines[0].number, "last_line": lines[len(lines)-1].number,
	}).WithHint("look at the keys of the lines in doubt before sending them again")
}

// extended copies an error, so that members can be added.
func extended(e *problem.Error) *problem.Error {
	out := *e
	out.Extra = maps.Clone(e.Extra)
	return &out
}
