// Package embedetcd runs a real etcd inside the process: the store of `gateway dev`, and the server of every test.
package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Options say where and how the server runs. Only Dir is needed.
type Options struct {
	// Dir is the data folder; it is created when absent and reopened when it holds data.
	Dir string
	// Listen is the client address as host:port; empty or port 0 takes a free loopback port.
	Listen string
	// QuotaBytes is the backend quota; 0 is etcd's default (2 GiB).
	QuotaBytes int64
	// MaxRequestBytes is the largest request; 0 is etcd's default (1.5 MiB).
	MaxRequestBytes uint
	// AuthTokenTTL is the life of a simple token in seconds; 0 is etcd's default (300).
	AuthTokenTTL uint
	// Fast trades durability and election calm for speed: for tests, whose data does not outlive them.
	Fast bool
	// Log takes the server's log entries of LogLevel and above; nil keeps etcd quiet.
	Log      zapcore.WriteSyncer
	LogLevel zapcore.Level
}

// Server is a running etcd. Close it.
type Server struct {
	etcd     *embed.Etcd
	endpoint string
}

// Start runs a single-member etcd and waits until it serves or ctx ends. A free port can be lost to another process
// between finding and binding it, so that case is tried again.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("a data folder is needed")
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	for try := 0; ; try++ {
		s, err := start(ctx, o)
		if err == nil || try == 4 || !anyPort(o.Listen) || !errors.Is(err, errAddressInUse) {
			return s, err
		}
	}
}

func start(ctx context.Context, o Options) (*Server, error) {
	client, err := clientURL(o.Listen)
	if err != nil {
		return nil, err
	}
	// A single member never dials its peers, so its peer address is a socket that no other process can reach.
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:0"}

	cfg := embed.NewConfig()
	cfg.Name = "etcdrest"
	cfg.Dir = filepath.Join(o.Dir, "etcd")
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls = []url.URL{peer}, []url.URL{peer}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.TickMs, cfg.ElectionMs = 50, 500
	if o.Fast {
		cfg.TickMs, cfg.ElectionMs, cfg.UnsafeNoFsync = 10, 100, true
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
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(logger(o))

	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, classify(err))
	}
	select {
	case <-e.Server.ReadyNotify():
		return &Server{etcd: e, endpoint: client.String()}, nil
	case err := <-e.Err():
		e.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, classify(err))
	case <-ctx.Done():
		e.Close()
		return nil, fmt.Errorf("start etcd in %s: %w", cfg.Dir, ctx.Err())
	}
}

// Endpoint is the URL that clients dial.
func (s *Server) Endpoint() string { return s.endpoint }

// Err delivers the error of a server that ended by itself.
func (s *Server) Err() <-chan error { return s.etcd.Err() }

// Close stops the server and waits for it.
func (s *Server) Close() { s.etcd.Close() }

func logger(o Options) *zap.Logger {
	if o.Log == nil {
		return zap.NewNop()
	}
	encoder := zapcore.NewConsoleEncoder(zap.NewProductionEncoderConfig())
	return zap.New(zapcore.NewCore(encoder, o.Log, o.LogLevel))
}

var errAddressInUse = errors.New("the address is in use")

func classify(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "listen" {
		return fmt.Errorf("%w: %w", errAddressInUse, err)
	}
	return err
}

func anyPort(listen string) bool {
	if listen == "" {
		return true
	}
	_, port, err := net.SplitHostPort(listen)
	return err == nil && port == "0"
}

// clientURL turns host:port into the URL to listen on, with a free port in place of 0: etcd advertises the URL it was
// told, so the port must be known before.
func clientURL(listen string) (url.URL, error) {
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return url.URL{}, fmt.Errorf("etcd listen address %q: use host:port: %w", listen, err)
	}
	if port == "0" {
		l, err := net.Listen("tcp", listen)
		if err != nil {
			return url.URL{}, fmt.Errorf("etcd listen address %q: %w", listen, err)
		}
		_, port, _ = net.SplitHostPort(l.Addr().String())
		if err := l.Close(); err != nil {
			return url.URL{}, fmt.Errorf("etcd listen address %q: %w", listen, err)
		}
	}
	return url.URL{Scheme: "http", Host: net.JoinHostPort(host, port)}, nil
}

// TestingT is the part of testing.TB that StartForTest needs.
type TestingT interface {
	Helper()
	TempDir() string
	Context() context.Context
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// StartForTest runs a fast server for the length of a test, in a folder of its own, on a free port.
func StartForTest(t TestingT, adjust ...func(*Options)) *Server {
	t.Helper()
	o := Options{Dir: t.TempDir(), Fast: true}
	for _, f := range adjust {
		f(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("embedded etcd: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}
