package authn

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"
)

// JWKSURLOptions say where an issuer publishes its keys, and how to treat it. The zero durations mean the defaults.
type JWKSURLOptions struct {
	// URL is https, or http of a loopback address.
	URL string
	// Algorithms are those that the keys may be used with.
	Algorithms []string
	// Roots are the authorities of the server's certificate; nil: the system's.
	Roots *x509.CertPool
	// Refresh is how often the keys are fetched when all is well: a key that the issuer has taken back is refused after
	// that time. Default 5 minutes.
	Refresh time.Duration
	// Cooldown is the least time between two fetches, whatever callers send: a new key is taken up after that time at the
	// latest. Default 30 seconds.
	Cooldown time.Duration
	// Timeout is for one fetch. Default 10 seconds.
	Timeout time.Duration
	// MaxStale is how long keys count that could not be fetched again. Default 24 hours.
	MaxStale time.Duration
	// Log may be nil.
	Log *slog.Logger
}

// JWKSURL are the keys that an issuer publishes. Run fetches them at once and regularly, and when a token names an unknown one;
// it alone does, so there is never more than one fetch. When a fetch fails, the former keys stay. An issuer that cannot be
// reached at the start stops nothing: its tokens are refused until it can.
type JWKSURL struct {
	o      JWKSURLOptions
	client *http.Client
	wanted chan struct{} // capacity 1: somebody waits for a fetch

	mu      sync.Mutex
	set     *KeySet
	fetched time.Time     // when set was, or was confirmed
	tried   time.Time     // when the last fetch began
	flight  chan struct{} // closed when the next fetch that is wanted or under way has ended; nil: none is
	running bool
	waiting int
}

// The bounds of waiting for a fetch: a flood of unknown keys, while the issuer is slow, holds no more requests for no longer.
const (
	maxWaiting = 1000
	maxWait    = 3 * time.Second
)

// NewJWKSURL makes the source. The error says what is wrong with the options.
func NewJWKSURL(o JWKSURLOptions) (*JWKSURL, error) {
	if err := checkJWKSURL(o.URL); err != nil {
		return nil, err
	}
	for _, d := range []struct {
		to    *time.Duration
		value time.Duration
	}{{&o.Refresh, 5 * time.Minute}, {&o.Cooldown, 30 * time.Second}, {&o.Timeout, 10 * time.Second}, {&o.MaxStale, 24 * time.Hour}} {
		if *d.to == 0 {
			*d.to = d.value
		}
	}
	o.Log = logOr(o.Log)
	return &JWKSURL{o: o, client: jwksClient(o), wanted: make(chan struct{}, 1)}, nil
}

// adopt takes over the keys of another source, if it has them from the same address for the same algorithms.
func (s *JWKSURL) adopt(other *JWKSURL) {
	if s.o.URL != other.o.URL || !slices.Equal(s.o.Algorithms, other.o.Algorithms) {
		return
	}
	other.mu.Lock()
	set, fetched := other.set, other.fetched
	other.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set, s.fetched = set, fetched
}

// Keys is the last set that could be fetched, for as long as it may be used.
func (s *JWKSURL) Keys() *KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.fetched) > s.o.MaxStale {
		return nil
	}
	return s.set
}

// Renew has the keys fetched, unless they were within the cooldown, and waits for that, for three seconds at the longest.
func (s *JWKSURL) Renew(ctx context.Context) *KeySet {
	if flight := s.want(); flight != nil {
		limit := time.NewTimer(maxWait)
		select {
		case <-flight:
		case <-ctx.Done():
		case <-limit.C:
		}
		limit.Stop()
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}
	return s.Keys()
}

// want gives what to wait for, and counts who does; nil for nothing.
func (s *JWKSURL) want() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.running || s.waiting == maxWaiting || (s.flight == nil && time.Since(s.tried) < s.o.Cooldown) {
		return nil
	}
	s.waiting++
	if s.flight == nil {
		s.flight = make(chan struct{})
		s.wanted <- struct{}{} // there is room: it was nil
	}
	return s.flight
}

// Run fetches the keys until ctx ends.
func (s *JWKSURL) Run(ctx context.Context) {
	s.mu.Lock()
	s.running = true
	s.mu.Unlock()
	defer s.stop()
	for failures := 0; ; {
		if err := s.renew(ctx); err == nil {
			failures = 0
		} else if failures++; ctx.Err() == nil {
			s.o.Log.ErrorContext(ctx, "the issuer's keys could not be fetched; those fetched before stay", "url", s.o.URL, "cause", err.Error())
		}
		timer := time.NewTimer(s.pause(failures))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.wanted:
			timer.Stop()
		}
	}
}

// pause is the time to the next fetch that nobody asks for. While there are no keys at all it grows from a second on.
func (s *JWKSURL) pause(failures int) time.Duration {
	if failures == 0 {
		return s.o.Refresh
	}
	if s.Keys() == nil {
		return min(time.Second<<min(failures-1, 10), s.o.Cooldown)
	}
	return min(s.o.Cooldown, s.o.Refresh)
}

// stop lets nobody wait for a fetch that will not be.
func (s *JWKSURL) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	s.land()
}

// land ends the flight, if there is one.
func (s *JWKSURL) land() {
	if s.flight != nil {
		close(s.flight)
		s.flight = nil
	}
	select {
	case <-s.wanted: // the wish has been met by a fetch that was due anyway
	default:
	}
}

// renew fetches the keys and uses them from now on.
func (s *JWKSURL) renew(ctx context.Context) error {
	s.mu.Lock()
	s.tried = time.Now()
	if s.flight == nil {
		s.flight = make(chan struct{})
	}
	s.mu.Unlock()

	set, skipped, err := s.fetch(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.land()
	if err != nil {
		return err
	}
	s.fetched = time.Now()
	if !set.same(s.set) {
		s.set = set
		s.o.Log.InfoContext(ctx, "the issuer's keys are used from now on", "url", s.o.URL, "kids", set.kids(), "skipped", skipped)
	}
	return nil
}
