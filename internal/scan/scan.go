// Package scan walks over a range of any size at one revision, in constant memory and through failures.
package scan

import (
	"context"
	"errors"
	"io"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Store is what a walk asks of etcd; *etcdclient.Client satisfies it.
type Store interface {
	Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error)
	RangeStream(ctx context.Context, r *wire.RangeRequest) (*etcdclient.RangeStream, error)
}

// Scan is a walk over a range at one revision, in the order of the keys and in constant memory: by RangeStream where the
// server has it, else by pages of Range. When etcd or the way to it fails, the walk is opened again behind the last key,
// at the same revision, and the client picks another member.
type Scan struct {
	store Store
	// Request is the range. Its Key moves on with the walk.
	Request wire.RangeRequest
	// patience is how long etcd may take for the next piece. A long walk has no other time-out, so that its length does
	// not decide whether it can succeed.
	patience time.Duration
	// Most is the number of keys that the caller will take at most, 0 for all; it only keeps pages small.
	Most int64
	// Page is the limit of the next page, where the walk goes by pages.
	Page int64

	paged bool // the server has no RangeStream
	tries int  // openings in a row that gave no key
}

// New prepares a walk over the range of the request, whose revision must be given and one that the store has reached.
func New(store Store, request wire.RangeRequest, patience time.Duration) *Scan {
	return &Scan{store: store, Request: request, patience: patience, Page: firstPage}
}

// All walks the range. A key-value aliases memory that is given back when the next one is asked for. An error is the last
// thing that comes; without one the walk is complete, and etcd has said so.
func (s *Scan) All(ctx context.Context) iter.Seq2[wire.KeyValue, error] {
	return func(yield func(wire.KeyValue, error) bool) {
		for {
			done, err := s.open(ctx, yield)
			if done {
				return
			}
			if err := s.resume(ctx, err); err != nil {
				yield(wire.KeyValue{}, err)
				return
			}
		}
	}
}

// open walks until the end, the caller's stop (both are done) or an error.
func (s *Scan) open(ctx context.Context, yield func(wire.KeyValue, error) bool) (done bool, err error) {
	if s.paged {
		return s.pages(ctx, yield)
	}
	return s.stream(ctx, yield)
}

// errStalled is the cause of a stream that was given up because nothing came.
var errStalled = errors.New("etcd sent nothing")

// stream walks by RangeStream, without a limit: etcd would count the rest of the range for one.
func (s *Scan) stream(ctx context.Context, yield func(wire.KeyValue, error) bool) (done bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watchdog := time.AfterFunc(s.patience, func() { cancel(errStalled) })
	defer watchdog.Stop()
	defer func() {
		if err != nil && errors.Is(context.Cause(ctx), errStalled) {
			err = stalled(s.patience, err)
		}
	}()
	request := s.Request
	in, err := s.store.RangeStream(ctx, &request)
	if err != nil {
		return false, err
	}
	defer in.Close()
	for {
		watchdog.Reset(s.patience)
		chunk, err := in.Next()
		watchdog.Stop() // a slow caller is not etcd's delay
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		if !s.take(chunk, yield) {
			return true, nil
		}
	}
}

// The sizes of pages, which follow the size of the values as etcd's own RangeStream does.
const (
	firstPage     = 10
	largestPage   = 4096
	wantPageBytes = 1 << 20
)

// pages walks by Range.
func (s *Scan) pages(ctx context.Context, yield func(wire.KeyValue, error) bool) (done bool, err error) {
	for {
		request := s.Request
		request.Limit = s.Page
		if s.Most > 0 {
			request.Limit = min(s.Page, s.Most)
		}
		answer, err := s.readPage(ctx, &request)
		if e := problem.From(err); e != nil && e.Code == problem.ResultTooLarge && s.Page > 1 {
			s.Page = max(s.Page/8, 1)
			continue
		}
		if err != nil {
			return false, err
		}
		more, size := answer.More, pageBytes(answer)
		switch {
		case size < wantPageBytes/2:
			s.Page = min(s.Page*2, largestPage)
		case size > wantPageBytes*2:
			s.Page = max(s.Page/2, 1)
		}
		if !s.take(answer, yield) || !more {
			return true, nil
		}
	}
}

func (s *Scan) readPage(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error) {
	page, cancel := context.WithTimeout(ctx, s.patience)
	defer cancel()
	answer, err := s.store.Range(page, r)
	if err != nil && ctx.Err() == nil && page.Err() != nil {
		return nil, stalled(s.patience, err)
	}
	return answer, err
}

func pageBytes(r *wire.RangeResponse) (n int) {
	for kv := range r.KVs.All() {
		n += len(kv.Key) + len(kv.Value)
	}
	return n
}

func stalled(patience time.Duration, cause error) error {
	return problem.New(problem.DeadlineExceeded, "etcd sent nothing for %v", patience).Because(cause)
}

// take yields the key-values of one piece, moves the walk behind them and gives the piece's memory back; false means that
// the caller has enough.
func (s *Scan) take(piece *wire.RangeResponse, yield func(wire.KeyValue, error) bool) bool {
	defer piece.Free()
	var last []byte
	for kv := range piece.KVs.All() {
		if !yield(kv, nil) {
			return false
		}
		last = kv.Key
	}
	if last != nil {
		s.Request.Key = keyrange.After(last)
		s.tries = 0
	}
	return true
}

// MostTries is how often in a row a walk is opened without getting further.
const MostTries = 8

// resume decides whether the walk goes on after an error, and waits a little; else it gives the error.
func (s *Scan) resume(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	e := problem.From(err)
	if e.Code == problem.NotSupported && !s.paged {
		s.paged = true
		return nil
	}
	// A revision that was read lies in no member's future for long; an expired token is renewed by the client.
	if !e.Code.Info().Retryable && e.Code != problem.AuthExpired {
		return err
	}
	if s.tries++; s.tries >= MostTries {
		return err
	}
	return Pause(ctx, s.tries)
}

// Pause waits before try number n+1: doubling from 50 ms to 2 s, with jitter.
func Pause(ctx context.Context, n int) error {
	d := min(50*time.Millisecond<<min(n-1, 10), 2*time.Second)
	timer := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // jitter needs no secrecy
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
