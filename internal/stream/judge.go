package stream

import (
	"context"
	"sync"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// judgedAtOnce is how many callers are judged at a time: some are proven by asking etcd.
const judgedAtOnce = 16

// Rejudge has every caller who watches judged by the policy again, within a second. What he may not do any more ends as
// permission_denied. It does not wait. Those who come in meanwhile may have been judged by the former policy, and are judged
// again as well.
func (h *Hub) Rejudge() {
	h.judgement.Add(1)
	select {
	case h.rejudge <- struct{}{}:
	default:
	}
}

// judgeCallers judges those who have not passed the last judgement, in the background.
func (h *Hub) judgeCallers() {
	if h.options.Gate == nil || h.judgement.Load() == 0 || h.judging.Swap(true) {
		return
	}
	_, started := h.spawn(func(ctx context.Context) {
		defer h.judging.Store(false)
		for round := int64(0); round != h.judgement.Load() && ctx.Err() == nil; {
			round = h.judgement.Load()
			h.judgeAll(ctx, round)
		}
	})
	if !started {
		h.judging.Store(false)
	}
}

func (h *Hub) judgeAll(ctx context.Context, round int64) {
	places := make(chan struct{}, judgedAtOnce)
	var work sync.WaitGroup
	for _, s := range h.subscribers() {
		if !s.whose().awaits(round) {
			continue
		}
		places <- struct{}{}
		work.Go(func() {
			defer func() { <-places }()
			h.judgeOne(ctx, s, round)
		})
	}
	work.Wait()
}

// awaits tells whether the caller has still to pass the judgement.
func (i *identity) awaits(round int64) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.access.caller != nil && i.judged != round
}

// judgeOne judges the caller of one connection. While it cannot be found out, because etcd cannot be asked, he stays; the next
// second tries again.
func (h *Hub) judgeOne(ctx context.Context, s subscriber, round int64) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	before := s.whose().now()
	caller, err := h.options.Gate.Again(ctx, before.caller.Principal)
	if err == nil {
		err = sameCaller(before.caller, caller)
	}
	e := problem.From(err)
	switch {
	case e == nil:
		after := before
		if caller != before.caller {
			after = h.accessOf(caller)
		}
		if done, _ := s.whose().replace(before, after, round); done && caller != before.caller { // he is counted already
			s.become(after)
		}
	case ctx.Err() != nil || e.Code.Info().Retryable:
		h.options.Logger.DebugContext(ctx, "judge a caller again", "error", err)
	default:
		_, _ = s.whose().replace(before, before, round) // as above
		s.end(e)
	}
}
