package fault_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/fault/history"
	"github.com/etcdrest/etcdrest/tests/fault/subscribe"
)

// open opens a connection that lasts as long as the test, or until it is closed.
func open(t *testing.T, transport subscribe.Transport, ask subscribe.Ask) subscribe.Feed {
	t.Helper()
	feed, err := transport.Open(t.Context(), ask)
	if err != nil {
		t.Fatalf("%s: %v", transport, err)
	}
	t.Cleanup(func() { feed.Close(false) })
	return feed
}

// next waits for the next message of a kind.
func next(t *testing.T, feed subscribe.Feed, kind history.Kind) history.Message {
	t.Helper()
	for {
		m, err := feed.Next()
		if m.Kind == kind {
			return m
		}
		if err != nil {
			t.Fatalf("got %v before a message %q", err, kind)
		}
	}
}

// refused opens a connection and wants it refused, by status or by the first message.
func refused(t *testing.T, transport subscribe.Transport, ask subscribe.Ask) *subscribe.RefusalError {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	feed, err := transport.Open(ctx, ask)
	for err == nil {
		var m history.Message
		if m, err = feed.Next(); err == nil && m.Kind != history.Created {
			t.Errorf("%s: got %v, want a refusal", transport, m)
		}
	}
	refusal, ok := errors.AsType[*subscribe.RefusalError](err)
	if !ok {
		t.Fatalf("%s: got %v, want a refusal", transport, err)
	}
	return refusal
}

// together calls f for 0 to n-1, some at a time. A call that fails the test ends it once all have ended.
func together(t *testing.T, n int, f func(i int)) {
	t.Helper()
	var work sync.WaitGroup
	turn := make(chan struct{}, 32)
	for i := range n {
		turn <- struct{}{}
		work.Go(func() {
			defer func() { <-turn }()
			f(i)
		})
	}
	work.Wait()
	if t.Failed() {
		t.FailNow()
	}
}
