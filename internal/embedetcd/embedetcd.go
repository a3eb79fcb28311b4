// Package embedetcd runs a real etcd inside the process: the store of `gateway dev`, and the server of every test.
package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
)

// Options say where and how the server runs. Only Dir is needed.
type Options struct {
	// Dir is the data folder; it is created when absent and reopened when it holds data. One server at a time may use it.
	Dir string
	// Listen is the client address as host:port; empty or port 0 takes a free loopback port.
	Listen string
	// CertFile and KeyFile make the server speak TLS; ClientCAFile then demands client certificates of that authority.
	CertFile, KeyFile, ClientCAFile string
	// QuotaBytes is the backend quota; 0 is etcd's default (2 GiB).
	QuotaBytes int64
	// MaxRequestBytes is the largest request; 0 is etcd's default (1.5 MiB).
	MaxRequestBytes uint
	// AuthTokenTTL is the life of a simple token in seconds; 0 is etcd's default (300).
	AuthTokenTTL uint
	// AuthToken is what tokens are, as etcd's flag --auth-token has it: `jwt,pub-key=…,priv-key=…,sign-method=ES256,ttl=5m`;
	// empty is simple tokens.
	AuthToken string
	// Fast trades durability, election calm and hard passwords for speed: for tests, whose data does not outlive them.
	Fast bool
	// Logger takes etcd's own log entries, but for those of its level debug, which hold values; nil keeps etcd quiet. What ends
	// the server is an error of Start or Err either way.
	Logger *slog.Logger
}

// Server is a running etcd. Close it. Its methods are safe for concurrent use.
type Server struct {
	etcd      *embed.Etcd
	endpoint  string
	failure   *failure
	forwarded chan struct{} // closed by forward, when it ends
	close     func()
}

// Start runs a single-member etcd and waits until it serves or ctx ends. It returns ErrInUse when another process uses
// the folder. A free port can be lost to another process between finding and binding it, so that case is tried again.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("a data folder is needed")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	unlock, err := lock(o.Dir)
	if err != nil {
		return nil, err
	}
	for try := 0; ; try++ {
		s, err := start(ctx, o)
		if err == nil {
			s.close = sync.OnceFunc(func() { s.halt(); unlock() })
			return s, nil
		}
		if try == 4 || !anyPort(o.Listen) || !errors.Is(err, errAddressInUse) {
			unlock()
			return nil, fmt.Errorf("etcd in %s: %w", o.Dir, err)
		}
	}
}

func start(ctx context.Context, o Options) (*Server, error) {
	client, err := clientURL(ctx, o)
	if err != nil {
		return nil, err
	}
	died := &failure{c: make(chan error, 1)}
	e, err := launch(config(o, client, died), died)
	if err != nil {
		return nil, classify(err)
	}
	s := &Server{etcd: e, endpoint: client.String(), failure: died, forwarded: make(chan struct{})}
	go s.forward()

	if err = s.ready(ctx); err != nil {
		s.halt()
		return nil, classify(err)
	}
	return s, nil
}

// versionPoll is how often a new server is asked whether it knows its cluster's version; it takes a few ticks.
const versionPoll = 2 * time.Millisecond

// ready waits until the server serves and knows its cluster's version. etcd serves a little before that, and a call that
// needs the version then ends its process (Downgrade with CANCEL: downgradeCancel reads it unchecked).
func (s *Server) ready(ctx context.Context) error {
	poll := time.NewTicker(versionPoll)
	defer poll.Stop()
	serves := s.etcd.Server.ReadyNotify()
	for serves != nil || s.etcd.Server.ClusterVersion() == nil {
		select {
		case <-serves:
			serves = nil
		case <-poll.C:
		case err := <-s.failure.c:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// forward passes on what etcd's listeners report; it ends when etcd is closed.
func (s *Server) forward() {
	defer close(s.forwarded)
	for err := range s.etcd.Err() {
		s.failure.report(err)
	}
}

// halt closes etcd and waits for it, unless a fatal entry has ended goroutines that etcd would wait for for ever.
func (s *Server) halt() {
	if s.failure.fatal.Load() {
		return
	}
	s.etcd.Close()
	<-s.forwarded
}

// launch runs embed.StartEtcd where a fatal log entry ends a goroutine instead of the process.
func launch(cfg *embed.Config, died *failure) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		e, err := embed.StartEtcd(cfg)
		started <- result{e, err}
	}()
	select {
	case r := <-started:
		return r.etcd, r.err
	case err := <-died.c:
		return nil, err
	}
}

func config(o Options, client url.URL, died *failure) *embed.Config {
	// A single member never dials its peers, so its peer address is a socket that no other process can reach.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}

	cfg := embed.NewConfig()
	cfg.Name = "etcdrest"
	cfg.Dir = filepath.Join(o.Dir, "etcd")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ClientTLSInfo = transport.TLSInfo{
		CertFile: o.CertFile, KeyFile: o.KeyFile,
		TrustedCAFile: o.ClientCAFile, ClientCertAuth: o.ClientCAFile != "",
	}
	// A single member elects itself; short ticks only make it ready sooner.
	cfg.TickMs, cfg.ElectionMs = 20, 200
	if o.Fast {
		cfg.TickMs, cfg.ElectionMs, cfg.UnsafeNoFsync = 10, 100, true
		cfg.BcryptCost = 4 // the least that bcrypt takes
	}
	if o.QuotaBytes > 0 {
		cfg.QuotaBackendBytes = o.QuotaBytes
	}
	if o.MaxRequestBytes > 0 {
		cfg.MaxRequestBytes = o.MaxRequestBytes
	}
	if o.AuthTokenTTL > 0 {
		cfg.AuthTokenTTL = o.AuthTokenTTL
	}
	if o.AuthToken != "" {
		cfg.AuthToken = o.AuthToken
	}
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(o.Logger, died))
	return cfg
}

// Endpoint is the URL that clients dial.
func (s *Server) Endpoint() string { return s.endpoint }

// Err delivers the error of a server that ended by itself.
func (s *Server) Err() <-chan error { return s.failure.c }

// Close stops the server, waits for it and gives the folder free. Closing twice is harmless.
func (s *Server) Close() { s.close() }
