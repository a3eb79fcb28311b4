package etcdclient

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"
)

// Config says which cluster to talk to, as whom, and within which limits. Only Endpoints is needed; the zero value of
// every other field is a good default.
type Config struct {
	// Endpoints are the members' client URLs: http://host:port, https://host:port, unix:///path, unixs:///path or a bare
	// host:port. They may be mixed: each decides for itself whether TLS is spoken. A bare host:port speaks TLS when TLS is
	// set.
	Endpoints []string
	// DialTimeout bounds one attempt to connect, and how long a call waits for any member to be connected before it
	// fails as unavailable. Default 5 s.
	DialTimeout time.Duration
	// TLS is used by https and unixs endpoints; nil is Go's defaults with the system's roots. A ServerName in it is
	// expected of every member; otherwise each member must prove the host of its own endpoint.
	TLS *tls.Config
	// Roots gives the authorities of which the members' certificates must come, anew for each handshake, so that they can
	// change while the client lives. Nil is those of TLS.
	Roots func() *x509.CertPool

	// Username and Password authenticate with etcd; the token is renewed when etcd refuses it.
	Username, Password string
	// Token is a fixed token (a JWT, say), used as it is and never renewed. It excludes Username and Password.
	Token string

	// MaxSendBytes is the largest request, default 2 MiB: a larger one is refused before anything is sent.
	MaxSendBytes int
	// MaxReceiveBytes is the largest answer, default math.MaxInt32.
	MaxReceiveBytes int

	// UnaryConns, BulkConns, WatchConns and LeaseConns are the connections to each endpoint for small calls (default 2),
	// for large ranges and snapshots (1), for watches (2) and for lease keepalives (1). The first kind is opened by New,
	// the others when they are first needed.
	UnaryConns, BulkConns, WatchConns, LeaseConns int

	// MaxCalls bounds the calls under way at each endpoint, of the small ones and of the large ones each, default 1,000:
	// when etcd is slow, further ones fail at once instead of piling up.
	MaxCalls int

	// HealthInterval is how often a connection in use is checked, default 1 s; HealthTimeout is how long an answer may
	// take, default 1.5 s. Two misses in a row set the member aside.
	HealthInterval, HealthTimeout time.Duration

	// MaxAttempts bounds the attempts of one call, default 4; 1 turns repeats off.
	MaxAttempts int
	// RetryBudget is the share of calls that may be repeated, default 0.1: in an outage the load on what is left grows
	// by no more than that.
	RetryBudget float64

	// DisableCoalescing sends every read by itself. Otherwise reads of single keys that arrive while others are under way
	// travel together, and so do reads of the same range, which costs etcd and the client less.
	DisableCoalescing bool

	// Auditor is told of every write (default: nobody), Tracer follows every attempt of a call (default: nobody).
	Auditor Auditor
	Tracer  Tracer

	// Logger takes what an operator should know: members set aside and back, failed authentication. Default: nothing.
	Logger *slog.Logger
}

const (
	defaultDialTimeout  = 5 * time.Second
	defaultMaxSendBytes = 2 << 20
	maxConns            = 64
)

// withDefaults fills in the defaults and reports every fault at once.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	if len(c.Endpoints) == 0 {
		faults = append(faults, errors.New("no Endpoints: give at least one, such as http://127.0.0.1:2379"))
	}
	if c.Token != "" && (c.Username != "" || c.Password != "") {
		faults = append(faults, errors.New("both Token and Username are given: give one or the other"))
	}
	if (c.Username == "") != (c.Password == "") {
		faults = append(faults, errors.New("one of Username and Password is missing: give both or neither"))
	}
	for _, d := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"DialTimeout", &c.DialTimeout, defaultDialTimeout},
		{"HealthInterval", &c.HealthInterval, time.Second},
		{"HealthTimeout", &c.HealthTimeout, 1500 * time.Millisecond},
	} {
		if *d.value < 0 {
			faults = append(faults, fmt.Errorf("%s is %v: give a positive duration, or 0 for %v", d.name, *d.value, d.def))
		}
		if *d.value == 0 {
			*d.value = d.def
		}
	}
	for _, n := range []struct {
		name        string
		value       *int
		def, atMost int
	}{
		{"MaxSendBytes", &c.MaxSendBytes, defaultMaxSendBytes, math.MaxInt32},
		{"MaxReceiveBytes", &c.MaxReceiveBytes, math.MaxInt32, math.MaxInt32},
		{"UnaryConns", &c.UnaryConns, 2, maxConns},
		{"BulkConns", &c.BulkConns, 1, maxConns},
		{"WatchConns", &c.WatchConns, 2, maxConns},
		{"LeaseConns", &c.LeaseConns, 1, maxConns},
		{"MaxAttempts", &c.MaxAttempts, 4, 100},
		{"MaxCalls", &c.MaxCalls, 1000, math.MaxInt32},
	} {
		if *n.value < 0 || *n.value > n.atMost {
			faults = append(faults, fmt.Errorf("%s is %d: give 1 to %d, or 0 for %d", n.name, *n.value, n.atMost, n.def))
		}
		if *n.value == 0 {
			*n.value = n.def
		}
	}
	if c.RetryBudget < 0 || c.RetryBudget > 1 || math.IsNaN(c.RetryBudget) {
		faults = append(faults, fmt.Errorf("RetryBudget is %v: give a share from 0 to 1; 0 is the default 0.1", c.RetryBudget))
	}
	if c.RetryBudget == 0 {
		c.RetryBudget = 0.1
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(faults...)
}
