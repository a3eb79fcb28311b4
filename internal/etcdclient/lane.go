package etcdclient

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/etcdrest/etcdrest/internal/trail"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// lane gathers reads of single keys: while as many calls as it allows are under way, arriving reads queue, and when one
// returns, what has queued goes as one transaction that only reads. Nothing waits for a timer, so an idle client adds
// nothing, and a linearizable read stays linearizable, because the call that carries it leaves after it arrived.
//
// A lane belongs to one identity and one consistency, so that no answer is shared across rights. Its goroutines are the
// pool's.
type lane struct {
	client *Client
	// parallel is how many calls are under way at a time, not counting slow ones; patience is how long a call takes at
	// least before it may count as slow.
	parallel int
	patience time.Duration

	mu    sync.Mutex
	queue []*read
	// calls are the starts of the calls under way.
	calls map[*call]struct{}
	// typical is a running estimate of the median time of a call.
	typical time.Duration
	// most is how many operations go in one transaction: fewer after etcd has refused that many.
	most int
	// alone are keys that go by themselves for a while: their values are large, or reading them failed. It is nil in a lane
	// of one range, whose reads are all the same.
	alone map[string]time.Time
	// watched is set while a timer looks after the queue.
	watched bool
}

// read is one caller's read in the queue.
type read struct {
	ctx     context.Context //nolint:containedctx // a queued caller's own, whose end takes it out of the queue
	request *wire.RangeRequest
	group   *group
	// done is closed when answer or err is there.
	done   chan struct{}
	answer *wire.RangeResponse
	err    error
}

// call is one call of the lane that is under way.
type call struct{ started time.Time }

const (
	// laneCalls is how many calls a lane has under way, each on the less loaded of two connections. Slow ones do not count,
	// up to laneMostCalls.
	laneCalls     = 2
	laneMostCalls = 8
	// A call is slow when it takes longer than both the lane's patience and slowFactor times the typical one.
	slowCall   = 50 * time.Millisecond
	slowFactor = 4

	// laneMost is etcd's default limit of operations, laneMostBytes a bound on the keys of one transaction.
	laneMost      = 128
	laneMostBytes = 256 << 10
	// largeValue is the size from which a key goes alone, aloneFor how long it does.
	largeValue = 64 << 10
	aloneFor   = 30 * time.Second
	// mostAlone bounds the memory of keys that go alone.
	mostAlone = 4096
)

// newLane makes a lane for reads of single keys.
func newLane(c *Client) *lane {
	return &lane{
		client: c, parallel: laneCalls, patience: slowCall, most: laneMost, typical: time.Millisecond,
		calls: make(map[*call]struct{}), alone: make(map[string]time.Time),
	}
}

// fitsLane tells whether a range is a read of one key as it is now, which may go with others.
func fitsLane(r *wire.RangeRequest) bool {
	return len(r.End) == 0 && len(r.Key) > 0 && len(r.Key) <= laneMostBytes/laneMost && r.Revision == 0 && r.Order == wire.Unsorted &&
		r.MinModRevision|r.MaxModRevision|r.MinCreateRevision|r.MaxCreateRevision == 0
}

// do makes one read, by itself when the lane is free, else with what else is waiting.
func (l *lane) do(ctx context.Context, r *wire.RangeRequest, prefix []byte) (*wire.RangeResponse, error) {
	l.mu.Lock()
	if l.goesAlone(r.Key) {
		l.mu.Unlock()
		return l.client.rangeAlone(ctx, r, prefix)
	}
	if len(l.queue) == 0 && l.free() {
		k := l.begin()
		l.mu.Unlock()
		answer, err := l.client.rangeAlone(ctx, r, prefix)
		l.end(k, func() { l.learn(r, answer, err) })
		return answer, err
	}
	w := &read{ctx: ctx, request: r, done: make(chan struct{})}
	l.queue = append(l.queue, w)
	l.watch()
	l.mu.Unlock()
	if t := trail.From(ctx); t != nil {
		began := time.Now()
		defer func() { t.AddUpstream(time.Since(began)) }()
	}

	select {
	case <-w.done:
	case <-ctx.Done():
		if l.leave(w) {
			return nil, ended(rangeMethod(r), ctx.Err(), false, "the time ran out in the queue", "")
		}
		select { // its call is under way
		case <-w.done:
		default:
			return nil, ended(rangeMethod(r), ctx.Err(), true, ctx.Err().Error(), "")
		}
	}
	if w.err == nil {
		if err := w.answer.Inside(prefix); err != nil {
			return nil, errOutside(rangeMethod(r))
		}
	}
	return w.answer, w.err
}

// leave takes a caller that has gone out of the queue, or out of the call that carries its read.
func (l *lane) leave(w *read) (queued bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, other := range l.queue {
		if other == w {
			l.queue = append(l.queue[:i], l.queue[i+1:]...)
			return true
		}
	}
	if w.group != nil {
		w.group.left()
	}
	return false
}

// free tells whether another call may begin. Called with the lock held.
func (l *lane) free() bool {
	n := len(l.calls)
	if n < l.parallel {
		return true
	}
	if n >= laneMostCalls {
		return false
	}
	slow := l.slow()
	for k := range l.calls {
		if time.Since(k.started) > slow {
			n--
		}
	}
	return n < l.parallel
}

// slow is how long a call may take before it stops to count. Called with the lock held.
func (l *lane) slow() time.Duration { return max(l.patience, slowFactor*l.typical) }

func (l *lane) begin() *call {
	k := &call{started: time.Now()}
	l.calls[k] = struct{}{}
	return k
}

// end takes a call out, notes what it taught, and has what has queued meanwhile sent.
func (l *lane) end(k *call, learn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.calls, k)
	learn()
	// A step towards each measured time, by a fraction of the estimate, settles at the median.
	if step := l.typical / 16; time.Since(k.started) > l.typical {
		l.typical += step
	} else {
		l.typical = max(l.typical-step, 16*time.Microsecond)
	}
	l.dispatch()
}

// dispatch sends what has queued, as long as calls may begin. Called with the lock held.
func (l *lane) dispatch() {
	for len(l.queue) > 0 && l.free() {
		g := newGroup(l, l.cut())
		k := l.begin()
		if !l.client.pool.run(func(context.Context) { g.run(k) }) {
			delete(l.calls, k)
			g.fail(errClosed(methodTxnRead))
		}
	}
}

// cut takes what fits one transaction off the queue.
func (l *lane) cut() []*read {
	size, n := 0, 0
	for n < len(l.queue) && n < l.most {
		if size += len(l.queue[n].request.Key); size > laneMostBytes && n > 0 {
			break
		}
		n++
	}
	reads := append([]*read(nil), l.queue[:n]...)
	rest := copy(l.queue, l.queue[n:])
	clear(l.queue[rest:])
	l.queue = l.queue[:rest]
	return reads
}

// watch has a timer look at a queue that no returning call may come to fetch, because all calls hang. Called with the
// lock held.
func (l *lane) watch() {
	if l.watched {
		return
	}
	l.watched = true
	time.AfterFunc(l.slow(), func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.watched = false
		l.dispatch()
		if len(l.queue) > 0 && !l.client.pool.closed() {
			l.watch()
		}
	})
}

// learn notes keys that had better go alone. Called with the lock held.
func (l *lane) learn(r *wire.RangeRequest, answer *wire.RangeResponse, err error) {
	if l.alone == nil {
		return
	}
	large := false
	if answer != nil {
		kv, ok := answer.KVs.First()
		large = ok && len(kv.Value) > largeValue
	}
	if !large && err == nil {
		return
	}
	if e, ok := errors.AsType[*Error](err); ok && !e.blamesOne() {
		return
	}
	now := time.Now()
	if len(l.alone) >= mostAlone {
		for key, until := range l.alone {
			if now.After(until) || len(l.alone) >= mostAlone {
				delete(l.alone, key)
			}
		}
	}
	l.alone[string(r.Key)] = now.Add(aloneFor)
}

// goesAlone tells whether the key has been noted. Called with the lock held.
func (l *lane) goesAlone(key []byte) bool {
	until, ok := l.alone[string(key)]
	if ok && time.Now().After(until) {
		delete(l.alone, string(key))
		return false
	}
	return ok
}
