package etcdclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"strconv"
	"strings"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// endpoint is one configured way to reach a member.
type endpoint struct {
	// name is the endpoint as it was configured.
	name string
	// network and address are what is dialled.
	network, address string
	// authority is the :authority of requests and, under TLS, the name that the member must prove.
	authority string
	// tls is nil for plain text.
	tls *tls.Config
	// calls is the number of calls and streams under way, over all connections of a class.
	calls [classes]atomic.Int64
}

// parseEndpoints reads the endpoints and reports every fault at once.
func parseEndpoints(names []string, config *tls.Config) ([]*endpoint, error) {
	var (
		endpoints []*endpoint
		faults    []error
		seen      = make(map[string]bool, len(names))
	)
	for _, name := range names {
		e, err := parseEndpoint(name, config)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("endpoint %q: %w", name, err))
		case seen[e.network+e.address]:
			faults = append(faults, fmt.Errorf("endpoint %q: given twice: give each address once", name))
		default:
			seen[e.network+e.address] = true
			endpoints = append(endpoints, e)
		}
	}
	return endpoints, errors.Join(faults...)
}

func parseEndpoint(name string, config *tls.Config) (*endpoint, error) {
	scheme, rest, found := strings.Cut(name, "://")
	if !found {
		// etcd's own spelling of a relative socket is unix:path, without slashes.
		if s, p, ok := strings.Cut(name, ":"); ok && (s == "unix" || s == "unixs") {
			scheme, rest = s, p
		} else {
			scheme, rest = "", name
		}
	}
	e := &endpoint{name: name, network: "tcp"}
	switch scheme {
	case "http", "unix":
	case "https", "unixs":
		if config == nil {
			config = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		e.tls = config
	case "":
		e.tls = config
	default:
		return nil, fmt.Errorf("the scheme %q is not known: use http, https, unix or unixs", scheme)
	}
	if scheme == "unix" || scheme == "unixs" {
		if rest == "" {
			return nil, errors.New("a socket's path is needed, such as unix:///run/etcd.sock")
		}
		e.network, e.address, e.authority = "unix", rest, path.Base(rest)
		return e, nil
	}
	address, err := hostPort(scheme, rest)
	if err != nil {
		return nil, err
	}
	e.address, e.authority = address, address
	return e, nil
}

// hostPort checks that an endpoint over TCP names a host and a port and nothing else.
func hostPort(scheme, rest string) (string, error) {
	if scheme == "" {
		scheme = "http"
	}
	u, err := url.Parse(scheme + "://" + rest)
	if err != nil {
		return "", errors.New("it is not a URL: use http://host:port or https://host:port")
	}
	if u.User != nil {
		return "", errors.New("it holds a user name: give Username and Password instead")
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" {
		return "", errors.New("it has a path or a query: etcd is reached by host and port alone")
	}
	if u.Hostname() == "" {
		return "", errors.New("it names no host: use http://host:port or https://host:port")
	}
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err != nil || n == 0 {
		return "", errors.New("it needs a port from 1 to 65535; etcd's usual one is 2379")
	}
	return u.Host, nil
}

// dialOptions are what makes a connection one to this endpoint.
func (e *endpoint) dialOptions(roots func() *x509.CertPool) []grpc.DialOption {
	opts := []grpc.DialOption{
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, e.network, e.address)
		}),
	}
	if e.tls == nil {
		return append(opts, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithAuthority(e.authority))
	}
	proof := credentials.NewTLS(e.tls)
	if roots != nil {
		proof = rooted{proof, e.tls, roots}
	}
	opts = append(opts, grpc.WithTransportCredentials(proof))
	if e.tls.ServerName == "" {
		opts = append(opts, grpc.WithAuthority(e.authority))
	}
	return opts
}

// rooted is TLS that asks at each handshake which authorities count.
type rooted struct {
	credentials.TransportCredentials
	config *tls.Config
	roots  func() *x509.CertPool
}

// ClientHandshake implements credentials.TransportCredentials.
func (r rooted) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config := r.config.Clone()
	config.RootCAs = r.roots()
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

// Clone implements credentials.TransportCredentials.
func (r rooted) Clone() credentials.TransportCredentials {
	return rooted{r.TransportCredentials.Clone(), r.config, r.roots}
}
