package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// server is an http.Server with an owner: start runs it, cut ends it and waits.
type server struct {
	http *http.Server
	// ended delivers the one error of a server that stopped without being told to.
	ended  chan error
	cancel context.CancelFunc // ends the requests that are under way
	done   sync.WaitGroup
}

// The limits of every connection. There is no limit on writing an answer: streams are long, and each of their writes has
// a deadline of its own.
const (
	headerTimeout  = 10 * time.Second
	maxHeaderBytes = 128 << 10        // of 128 key= parameters, say
	maxStreams     = 250              // at once on one HTTP/2 connection
	writeTimeout   = 30 * time.Second // for a byte to leave on an HTTP/2 connection
)

// newAPIServer serves HTTP/1.1 and HTTP/2, the latter over TLS or, for clients that know beforehand, without.
func newAPIServer(config *tls.Config, idle time.Duration, log *slog.Logger, h http.Handler) *server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	s := newServer(log, h)
	s.http.TLSConfig, s.http.Protocols, s.http.IdleTimeout = config, protocols, idle
	s.http.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: maxStreams, WriteByteTimeout: writeTimeout}
	return s
}

func newServer(log *slog.Logger, h http.Handler) *server {
	return &server{
		http: &http.Server{
			Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: time.Minute, MaxHeaderBytes: maxHeaderBytes,
			ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), // mostly what clients do wrong in a handshake
		},
		ended: make(chan error, 1),
	}
}

// start serves until cut. Requests do not end with ctx: they have their grace.
func (s *server) start(ctx context.Context, l net.Listener) {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancel = cancel
	s.http.BaseContext = func(net.Listener) context.Context { return requests }
	s.done.Go(func() {
		serve := s.http.Serve
		if s.http.TLSConfig != nil {
			serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
		}
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.ended <- fmt.Errorf("listener %s: %w", l.Addr(), err)
		}
	})
}

// drain stops accepting and waits for the requests under way, up to grace; it tells whether all of them finished.
func (s *server) drain(ctx context.Context, grace time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	return s.http.Shutdown(ctx) == nil
}

// cut ends whatever is left.
func (s *server) cut() {
	s.cancel()
	_ = s.http.Close() // the connections are gone either way
	s.done.Wait()
}
