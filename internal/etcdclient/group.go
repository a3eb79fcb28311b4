package etcdclient

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// group is reads that travel as one transaction. Its context is its own: it ends with the last of its callers' deadlines,
// or when all of them have left.
type group struct {
	lane   *lane
	reads  []*read
	ctx    context.Context //nolint:containedctx // the group's own life
	cancel context.CancelFunc
	// waiting is how many callers are still there.
	waiting atomic.Int64
}

// newGroup makes a group of the reads. Called with the lane's lock held.
func newGroup(l *lane, reads []*read) *group {
	g := &group{lane: l, reads: reads}
	var latest time.Time
	bounded := true
	for _, w := range reads {
		d, ok := w.ctx.Deadline()
		bounded = bounded && ok
		if d.After(latest) {
			latest = d
		}
		w.group = g
	}
	background := l.client.sharedContext(reads)
	if bounded {
		g.ctx, g.cancel = context.WithDeadline(background, latest)
	} else {
		g.ctx, g.cancel = context.WithCancel(background)
	}
	g.waiting.Store(int64(len(reads)))
	return g
}

func (g *group) left() {
	if g.waiting.Add(-1) == 0 {
		g.cancel()
	}
}

// run sends the group and hands out its answers.
func (g *group) run(k *call) {
	defer g.cancel()
	g.ask(g.reads)
	g.lane.end(k, func() {
		for _, w := range g.reads {
			g.lane.learn(w.request, w.answer, w.err)
		}
	})
	for _, w := range g.reads {
		close(w.done)
	}
}

// fail ends the group without asking.
func (g *group) fail(err error) {
	g.cancel()
	for _, w := range g.reads {
		w.err = err
		close(w.done)
	}
}

// ask reads for all of them, and when etcd refuses the transaction for the sake of one of them, for each half apart, so
// that no caller gets another's refusal. Identical reads are asked once.
func (g *group) ask(reads []*read) {
	if len(reads) == 1 {
		w := reads[0]
		w.answer, w.err = g.lane.client.rangeAlone(g.ctx, w.request, nil)
		return
	}
	request, index := transaction(reads)
	if len(request.Then) == 1 {
		first := reads[0]
		answer, err := g.lane.client.rangeAlone(g.ctx, first.request, nil)
		g.shareOne(reads, answer, err)
		return
	}
	answer, err := g.lane.client.txnIn(g.ctx, request, nil)
	if err == nil && len(answer.Results) != len(request.Then) {
		err = errCorrupt(methodTxnRead, errFewResults)
	}
	if err != nil {
		g.refused(reads, err)
		return
	}
	g.lane.client.metrics.grouped.Add(float64(len(reads)))
	share := &shared{answer: answer}
	share.users.Store(int64(len(reads)))
	for i, w := range reads {
		result := answer.Results[index[i]].Range
		if result == nil {
			w.err = errCorrupt(methodTxnRead, errFewResults)
			continue
		}
		one := *result
		one.Header = answer.Header
		one.Own(share)
		w.answer = &one
	}
}

// refused deals with a transaction that etcd did not run.
func (g *group) refused(reads []*read, err error) {
	e, ok := errors.AsType[*Error](err)
	if ok && e.Name == "TooManyOps" {
		g.lane.mu.Lock()
		g.lane.most = max(len(reads)/2, 1)
		g.lane.mu.Unlock()
	}
	if !ok || g.ctx.Err() != nil || !e.blamesOne() {
		for _, w := range reads {
			w.err = err
		}
		return
	}
	half := len(reads) / 2
	g.ask(reads[:half])
	g.ask(reads[half:])
}

// blamesOne says that one of several reads may be the cause, so that the others could succeed without it.
func (e *Error) blamesOne() bool {
	return e.Name == NameAnswerTooLarge || e.Answered && e.cause == nil && e.Code != codes.Unavailable && e.Code != codes.ResourceExhausted
}

// errFewResults means that a transaction's answer does not have what was asked for.
var errFewResults = errors.New("the transaction's answer lacks results")

// transaction makes the transaction of the reads, and tells which operation is whose.
func transaction(reads []*read) (*wire.TxnRequest, []int) {
	type form struct {
		key                 string
		keysOnly, countOnly bool
	}
	index := make([]int, len(reads))
	seen := make(map[form]int, len(reads))
	ops := make([]wire.Op, 0, len(reads))
	for i, w := range reads {
		f := form{key: string(w.request.Key), keysOnly: w.request.KeysOnly, countOnly: w.request.CountOnly}
		at, ok := seen[f]
		if !ok {
			at = len(ops)
			seen[f] = at
			ops = append(ops, wire.Op{Range: w.request})
		}
		index[i] = at
	}
	return &wire.TxnRequest{Then: ops}, index
}

// shareOne gives several callers the answer of one range.
func (g *group) shareOne(reads []*read, answer *wire.RangeResponse, err error) {
	if err != nil {
		for _, w := range reads {
			w.err = err
		}
		return
	}
	g.lane.client.metrics.grouped.Add(float64(len(reads)))
	share := &shared{answer: answer}
	share.users.Store(int64(len(reads)))
	for _, w := range reads {
		one := *answer
		one.Own(share)
		w.answer = &one
	}
}

// shared is the memory under an answer that several callers hold: the last one to free it gives it back.
type shared struct {
	answer interface{ Free() }
	users  atomic.Int64
	once   sync.Once
}

// Free lets one user go.
func (s *shared) Free() {
	if s.users.Add(-1) == 0 {
		s.once.Do(s.answer.Free)
	}
}
