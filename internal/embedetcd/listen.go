package embedetcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
)

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
func clientURL(ctx context.Context, o Options) (url.URL, error) {
	listen := o.Listen
	if listen == "" {
		listen = "127.0.0.1:0"
	}
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return url.URL{}, fmt.Errorf("listen address %q: use host:port: %w", listen, err)
	}
	if port == "0" {
		if port, err = freePort(ctx, listen); err != nil {
			return url.URL{}, err
		}
	}
	scheme := "http"
	if o.CertFile != "" {
		scheme = "https"
	}
	return url.URL{Scheme: scheme, Host: net.JoinHostPort(host, port)}, nil
}

func freePort(ctx context.Context, listen string) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", listen)
	if err != nil {
		return "", fmt.Errorf("listen address %q: %w", listen, err)
	}
	_, port, _ := net.SplitHostPort(l.Addr().String())
	if err := l.Close(); err != nil {
		return "", fmt.Errorf("listen address %q: %w", listen, err)
	}
	return port, nil
}
