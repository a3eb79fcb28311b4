package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// listen binds an address of the configuration. Connections whose other end has vanished are found by keepalive.
func listen(ctx context.Context, name, address string) (net.Listener, error) {
	config := net.ListenConfig{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3,
	}}
	l, err := config.Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s: %s is already in use by another program; stop that one, or choose another port with --%s (port 0 takes a free one)",
			name, address, name)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: this user may not bind %s; choose a port above 1023 with --%s", name, address, name)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s: this machine has no address %s", name, address)
	default:
		return nil, fmt.Errorf("%s: %w", name, err)
	}
}

// limited bounds the open connections of a listener. One too many is refused at once instead of waiting in a queue: its
// client can go elsewhere. The refusal is written to it before it is closed.
func limited(l net.Listener, limit int64, refusal string) net.Listener {
	return &limitedListener{Listener: l, limit: limit, refusal: refusal}
}

type limitedListener struct {
	net.Listener
	limit   int64
	open    atomic.Int64
	refusal string
}

// refusalOf is what a client beyond the limit reads. With TLS that is nothing: a handshake would cost what is refused.
func refusalOf(c Config) string {
	if c.TLSCert != "" {
		return ""
	}
	info := problem.Overloaded.Info()
	body := fmt.Sprintf(`{"type":"/problems/%s","title":%q,"status":%d,"code":"%s",`+
		`"detail":"all connections are taken (--max-connections)","retryable":%t,"outcome":"%s","retry_after_ms":1000}`,
		info.Code, info.Title, info.Status, info.Code, info.Retryable, info.Outcome)
	return fmt.Sprintf("HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s",
		info.Status, http.StatusText(info.Status), len(body), body)
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.limit {
			return &countedConn{Conn: c, release: sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond)) // a fresh socket takes it at once, or never
		_, _ = io.WriteString(c, l.refusal)
		_ = c.Close()
	}
}

type countedConn struct {
	net.Conn
	release func()
}

func (c *countedConn) Close() error {
	c.release()
	return c.Conn.Close()
}

// announce prints where everything is, a line for each URL.
func announce(w io.Writer, c Config, api, admin net.Listener, dev bool) {
	scheme := "http"
	if c.TLSCert != "" {
		scheme = "https"
	}
	lines := fmt.Sprintf("API    %s://%s\n", scheme, api.Addr())
	if admin != nil {
		lines += fmt.Sprintf("admin  http://%s\n", admin.Addr())
	}
	if dev {
		lines += fmt.Sprintf("etcd   %s\n", c.Endpoints[0])
	}
	fmt.Fprint(w, lines)
}

func addressOf(l net.Listener) string {
	if l == nil {
		return ""
	}
	return l.Addr().String()
}
