package traffic

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Mix is what writers write.
type Mix struct {
	Folders int           // p0/ and so on
	Keys    int           // of each folder
	Pace    time.Duration // of each writer
	// Leases, when there is a client, gives some keys a lease that is revoked a little later.
	Leases *clientv3.Client
	// TTLs gives some keys a time to live of this many seconds; only the gateway takes one.
	TTLs int64
}

// Folder is the prefix of the nth folder's keys.
func Folder(n int) string { return fmt.Sprintf("p%d/", n) }

// Key is the kth key of the nth folder.
func Key(n, k int) string { return fmt.Sprintf("%s%d", Folder(n), k) }

// Writers are writers at work.
type Writers struct {
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu     sync.Mutex
	writes []Write
}

// Start has one writer at each store write until Stop. Calls have two seconds.
func Start(ctx context.Context, mix Mix, stores ...Store) *Writers {
	ctx, cancel := context.WithCancel(ctx)
	w := &Writers{cancel: cancel}
	for i, store := range stores {
		one := writer{id: i, mix: mix, store: store, random: rand.New(rand.NewPCG(uint64(i), 1)), keep: w.keep}
		w.work.Go(func() { one.run(ctx) })
	}
	return w
}

// Stop lets the writes under way end.
func (w *Writers) Stop() {
	w.cancel()
	w.work.Wait()
}

// Writes are all writes that have ended.
func (w *Writers) Writes() []Write {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]Write(nil), w.writes...)
}

func (w *Writers) keep(one Write) {
	one.Ended = time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writes = append(w.writes, one)
}

// writer is one of them.
type writer struct {
	id     int
	mix    Mix
	store  Store
	random *rand.Rand
	keep   func(Write)

	n int // of the values so far
}

func (w *writer) run(ctx context.Context) {
	ticks := time.NewTicker(w.mix.Pace)
	defer ticks.Stop()
	for {
		select {
		case <-ticks.C:
			w.once(context.WithoutCancel(ctx))
		case <-ctx.Done():
			return
		}
	}
}

const callWithin = 2 * time.Second

func (w *writer) once(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, callWithin+time.Second)
	defer cancel()
	switch die := w.random.IntN(100); {
	case die < 10 && w.mix.Leases != nil:
		w.lease(ctx)
	case die < 25:
		w.keep(w.store.Write(ctx, w.several()))
	case die < 40:
		w.keep(w.store.Write(ctx, []Op{{Delete: true, Key: w.key()}}))
	default:
		op := w.put()
		if die < 45 {
			op.TTL = w.mix.TTLs
		}
		w.keep(w.store.Write(ctx, []Op{op}))
	}
}

func (w *writer) key() string { return Key(w.random.IntN(w.mix.Folders), w.random.IntN(w.mix.Keys)) }

func (w *writer) put() Op {
	w.n++
	return Op{Key: w.key(), Value: fmt.Sprintf("%d.%d", w.id, w.n)}
}

// several are changes of different keys: etcd refuses a transaction that touches one twice.
func (w *writer) several() (ops []Op) {
	used := map[string]bool{}
	for range 2 + w.random.IntN(6) {
		op := w.put()
		if used[op.Key] {
			continue
		}
		used[op.Key] = true
		if w.random.IntN(4) == 0 {
			op = Op{Delete: true, Key: op.Key}
		}
		ops = append(ops, op)
	}
	return ops
}

// lease puts several keys under one lease and revokes it, which deletes those that still have it in one revision.
func (w *writer) lease(ctx context.Context) {
	granted, err := w.mix.Leases.Grant(ctx, 60)
	if err != nil {
		return
	}
	ops := w.several()
	for i := range ops {
		ops[i].Lease = int64(granted.ID)
	}
	w.keep(Etcd{Client: w.mix.Leases}.Write(ctx, ops))
	_, _ = w.mix.Leases.Revoke(ctx, granted.ID) // one that fails leaves the keys until the lease ends
}
