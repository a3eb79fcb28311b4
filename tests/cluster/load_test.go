package cluster_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// load is callers that work until it is stopped.
type load struct {
	history

	api    *api
	prefix string
	work   sync.WaitGroup
	cancel context.CancelFunc

	unread []answer // reads without an answer; guarded by the history's mutex
}

// startLoad runs writers, each of which creates one key after the other, and readers of what was written last. A write that
// failed is tried twice more with another value, as a caller would do.
func startLoad(t *testing.T, a *api, prefix string, writers, readers int) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{api: a, prefix: prefix, cancel: cancel}
	for i := range writers {
		l.work.Go(func() { l.write(ctx, fmt.Sprintf("%s/%d", prefix, i)) })
	}
	for range readers {
		l.work.Go(func() { l.read(ctx) })
	}
	t.Cleanup(l.stop)
	return l
}

// stop lets the calls under way finish.
func (l *load) stop() {
	l.cancel()
	l.work.Wait()
}

// pace leaves the machine to what is tested.
const pace = 10 * time.Millisecond

func (l *load) write(ctx context.Context, prefix string) {
	calls := context.WithoutCancel(ctx)
	each(ctx, pace, func(n int) {
		key := fmt.Sprintf("%s/%d", prefix, n)
		for try := range 3 {
			value := fmt.Sprintf("%s#%d", key, try)
			a := l.api.create(calls, key, value, "?timeout=2")
			if l.wrote(key, value, a) == acknowledged || a.status == 412 || ctx.Err() != nil {
				return
			}
		}
	})
}

func (l *load) read(ctx context.Context) {
	calls := context.WithoutCancel(ctx)
	each(ctx, pace, func(int) {
		if key := l.latest(); key != "" {
			a := l.api.get(calls, "/v1/kv/"+key)
			if !l.saw(key, a) {
				l.failed(a)
			}
		}
	})
}

// failed notes a read that got no answer.
func (l *load) failed(a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unread = append(l.unread, a)
}

// failures counts the reads that got no answer, by status and code.
func (l *load) failures() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	count := map[string]int{}
	for _, a := range l.unread {
		count[fmt.Sprint(a.status, " ", a.document().Code)]++
	}
	return count
}

// each calls f at that pace, or as fast as it returns, until ctx ends.
func each(ctx context.Context, pace time.Duration, f func(n int)) {
	ticks := time.NewTicker(pace)
	defer ticks.Stop()
	for n := 0; ; n++ {
		select {
		case <-ticks.C:
			f(n)
		case <-ctx.Done():
			return
		}
	}
}

// acks is when writes were acknowledged.
type acks struct {
	mu sync.Mutex
	at []time.Time
}

func (a *acks) add(at time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = append(a.at, at)
}

// since counts the acknowledgements after a time.
func (a *acks) since(from time.Time) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, at := range a.at {
		if at.After(from) {
			n++
		}
	}
	return n
}

// acks of the load's writers so far.
func (l *load) acks() *acks {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out acks
	for _, w := range l.writes {
		if w.told == acknowledged {
			out.at = append(out.at, w.ended)
		}
	}
	return &out
}

// longestGap is the longest time without an acknowledgement that overlaps [from, to].
func (a *acks) longestGap(from, to time.Time) (gap time.Duration) {
	a.mu.Lock()
	at := slices.Clone(a.at)
	a.mu.Unlock()
	slices.SortFunc(at, time.Time.Compare)
	for i := 1; i < len(at); i++ {
		if at[i].After(from) && at[i-1].Before(to) {
			gap = max(gap, at[i].Sub(at[i-1]))
		}
	}
	return gap
}

// officialLoad writes the same way by etcd's official client, beside the gateway, until the test ends.
func officialLoad(t *testing.T, client *clientv3.Client, prefix string, writers int) *acks {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var (
		acked acks
		work  sync.WaitGroup
	)
	for i := range writers {
		work.Go(func() {
			each(ctx, pace, func(n int) {
				key := fmt.Sprintf("%s/%d/%d", prefix, i, n)
				call, done := context.WithTimeout(ctx, 2*time.Second)
				defer done()
				_, err := client.Txn(call).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0)).Then(clientv3.OpPut(key, key)).Commit()
				if err == nil {
					acked.add(time.Now())
				}
			})
		})
	}
	t.Cleanup(func() {
		cancel()
		work.Wait()
	})
	return &acked
}

// traffic is calls that begin at a steady pace whatever becomes of the ones before.
type traffic struct {
	name   string
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex
	answers []answer
}

// startTraffic begins a call at every tick until stop.
func startTraffic(t *testing.T, name string, pace time.Duration, do func(ctx context.Context, n int) answer) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	calls := context.WithoutCancel(ctx)
	f := &traffic{name: name, cancel: cancel}
	f.work.Go(func() {
		each(ctx, pace, func(n int) {
			f.work.Go(func() {
				a := do(calls, n)
				f.mu.Lock()
				defer f.mu.Unlock()
				f.answers = append(f.answers, a)
			})
		})
	})
	t.Cleanup(f.stop)
	return f
}

// stop waits for the calls under way.
func (f *traffic) stop() {
	f.cancel()
	f.work.Wait()
}

// prompt is how long a call may take to count as served on a machine that is busy with other things as well.
const prompt = 1500 * time.Millisecond

// between are the answers to the calls that began in [from, to).
func (f *traffic) between(from, to time.Time) (out []answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.answers {
		if !a.begun.Before(from) && a.begun.Before(to) {
			out = append(out, a)
		}
	}
	return out
}

// blackout is how long after from the last call began that was not served promptly, of those begun before to; with that
// call. From then on everything flows.
func (f *traffic) blackout(from, to time.Time) (d time.Duration, last answer) {
	for _, a := range f.between(from, to) {
		if !a.ok() || a.took() > prompt {
			if since := a.begun.Sub(from); since > d {
				d, last = since, a
			}
		}
	}
	return d, last
}

// slowest is the call that took longest.
func slowest(answers []answer) (out answer) {
	for _, a := range answers {
		if a.took() > out.took() {
			out = a
		}
	}
	return out
}
