package handlers

import (
	"context"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/scan"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// The bounds of one batch, that is, of one transaction: etcd takes 128 operations and 1.5 MiB by default. A nested
// transaction spends the operations of the one around it, so creating takes one off; overwriting takes two per key.
const (
	createLines    = 127
	overwriteLines = 64
	dryLines       = 128
	batchBytes     = 1 << 20
	// batchLines bounds the faulty lines that wait in a batch to be reported in their order.
	batchLines = 1_000
)

// importBatch is a run of lines that are written in one transaction, with the faulty ones among them.
type importBatch struct {
	lines []importLine
	keys  map[string]struct{}
	bytes int
	most  int // the most keys
}

func newImportBatch(mode string, dryRun bool) importBatch {
	b := importBatch{keys: make(map[string]struct{}), most: createLines}
	switch {
	case dryRun:
		b.most = dryLines
	case mode == modeOverwrite:
		b.most = overwriteLines
	}
	return b
}

// fits tells whether the line can join. etcd refuses a transaction that writes a key twice, so a repeated key waits for
// the next batch, which keeps the order of the lines.
func (b *importBatch) fits(l *importLine) bool {
	if l.fault != nil || len(b.keys) == 0 {
		return len(b.lines) < batchLines
	}
	_, twice := b.keys[string(l.key)]
	return !twice && len(b.keys) < b.most && b.bytes+l.size() <= batchBytes
}

func (b *importBatch) add(l importLine) {
	b.lines = append(b.lines, l)
	if l.fault == nil {
		b.keys[string(l.key)] = struct{}{}
		b.bytes += l.size()
	}
}

func (b *importBatch) reset() {
	clear(b.lines)
	clear(b.keys)
	b.lines, b.bytes = b.lines[:0], 0
}

// size is about what the line adds to the transaction; the key is in it twice.
func (l *importLine) size() int { return 2*len(l.key) + len(l.value) + 32 }

// sound are the lines of the batch that can be written.
func sound(lines []importLine) (out []*importLine) {
	for i := range lines {
		if lines[i].fault == nil {
			out = append(out, &lines[i])
		}
	}
	return out
}

// createRequest puts each key if it is absent, all in one transaction: it is atomic, never overwrites whatever others
// write meanwhile, and tells for each key what happened.
func createRequest(lines []*importLine) *wire.TxnRequest {
	t := &wire.TxnRequest{Then: make([]wire.Op, 0, len(lines))}
	for _, l := range lines {
		t.Then = append(t.Then, wire.Op{Txn: &wire.TxnRequest{
			If:   []wire.Compare{createRevision(l.key, wire.Equal, 0)},
			Then: []wire.Op{{Put: &wire.PutRequest{Key: l.key, Value: l.value}}},
		}})
	}
	return t
}

// overwriteRequest looks whether each key is there, and puts it.
func overwriteRequest(lines []*importLine) *wire.TxnRequest {
	t := existsRequest(lines)
	for i := range t.Then { // which tells an audit log besides where the key stood
		t.Then[i].Range.CountOnly, t.Then[i].Range.KeysOnly = false, true
	}
	for _, l := range lines {
		t.Then = append(t.Then, wire.Op{Put: &wire.PutRequest{Key: l.key, Value: l.value}})
	}
	return t
}

// existsRequest looks whether each key is there.
func existsRequest(lines []*importLine) *wire.TxnRequest {
	t := &wire.TxnRequest{Then: make([]wire.Op, 0, 2*len(lines))}
	for _, l := range lines {
		t.Then = append(t.Then, wire.Op{Range: &wire.RangeRequest{Key: l.key, CountOnly: true}})
	}
	return t
}

// existed reads from the answer whether the i-th key was there before.
func existed(answer *wire.TxnResponse, i int) (bool, error) {
	if i < len(answer.Results) {
		switch r := answer.Results[i]; {
		case r.Txn != nil:
			return !r.Txn.Succeeded, nil
		case r.Range != nil:
			return r.Range.Count > 0, nil
		}
	}
	return false, problem.New(problem.UpstreamCorrupt, "etcd's answer to the transaction cannot be read")
}

// write sends the lines as one transaction. A refusal that proves that nothing was written, and that passes by itself, is
// tried again a few times.
func (im *importer) write(ctx context.Context, lines []*importLine) (*wire.TxnResponse, error) {
	var request *wire.TxnRequest
	switch {
	case im.dryRun:
		request = existsRequest(lines)
	case im.mode == modeOverwrite:
		request = overwriteRequest(lines)
	default:
		request = createRequest(lines)
	}
	for try := 1; ; try++ {
		answer, err := im.send(ctx, request)
		if err == nil {
			return answer, nil
		}
		e := problem.From(err)
		if try == scan.MostTries || ctx.Err() != nil || !e.Code.Info().Retryable || (!im.dryRun && outcome(e) != problem.NotApplied) {
			return nil, err
		}
		if scan.Pause(ctx, try) != nil {
			return nil, err // which says better than the context's end that nothing was written
		}
	}
}

func (im *importer) send(ctx context.Context, request *wire.TxnRequest) (*wire.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, im.call.api.options.RequestTimeout)
	defer cancel()
	return im.call.store.Txn(ctx, request)
}

// ofOneLine tells whether a refusal can be about one line of several, so that the others should be tried without it.
func ofOneLine(code problem.Code) bool {
	switch code {
	case problem.RequestTooLarge, problem.TooManyOperations, problem.PermissionDenied, problem.InvalidArgument:
		return true
	default:
		return false
	}
}
