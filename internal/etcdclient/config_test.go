package etcdclient_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestEveryFaultOfTheConfigurationIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	_, err := etcdclient.New(etcdclient.Config{
		Endpoints: []string{
			"ftp://host:1", "http://host", "https://user@host:1", "http://host:1/path", "unix://", "host:0", "://",
			"http://same:1", "same:1", "http://:2379", "http://host:2379?x=y",
		},
		Username: "u", Token: "t", DialTimeout: -1, MaxSendBytes: -1, MaxReceiveBytes: -1, UnaryConns: 1000,
		HealthInterval: -1, MaxAttempts: -2, RetryBudget: 2,
	})
	if err == nil {
		t.Fatal("New took it")
	}
	for _, want := range []string{
		`endpoint "ftp://host:1"`, `endpoint "http://host"`, `endpoint "https://user@host:1"`, `endpoint "http://host:1/path"`,
		`endpoint "unix://"`, `endpoint "host:0"`, `endpoint "://"`, `endpoint "same:1": given twice`, `endpoint "http://:2379"`,
		`endpoint "http://host:2379?x=y"`,
		"both Token and Username", "give both or neither", "DialTimeout", "MaxSendBytes", "MaxReceiveBytes", "UnaryConns", "HealthInterval",
		"MaxAttempts", "RetryBudget",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not name %s", want)
		}
	}
	if _, err := etcdclient.New(etcdclient.Config{}); err == nil || !strings.Contains(err.Error(), "Endpoints") {
		t.Errorf("no endpoints: got %v", err)
	}
}

// certificate makes a certificate for the names, and the pool that trusts it.
func certificate(t *testing.T, names ...string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	for _, n := range names {
		if ip := net.ParseIP(n); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestEachEndpointIsHonouredInItsOwnScheme(t *testing.T) {
	t.Parallel()
	s := embedetcd.StartForTest(t)
	socket := filepath.Join(t.TempDir(), "s.sock")
	listen := func(network, address string) net.Listener {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	proxy(t, listen("unix", socket), s.Endpoint())
	cert, roots := certificate(t, "127.0.0.1", "s.tls")
	server := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}, MinVersion: tls.VersionTLS12}
	secure := listen("tcp", "127.0.0.1:0")
	proxy(t, tls.NewListener(secure, server), s.Endpoint())
	secureSocket := filepath.Join(t.TempDir(), "s.tls")
	proxy(t, tls.NewListener(listen("unix", secureSocket), server), s.Endpoint())
	trust := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}

	for _, each := range []struct {
		name     string
		endpoint string
		tls      *tls.Config
		fault    string
	}{
		{"http", s.Endpoint(), nil, ""},
		{"http ignores TLS", s.Endpoint(), trust, ""},
		{"bare", strings.TrimPrefix(s.Endpoint(), "http://"), nil, ""},
		{"unix", "unix://" + socket, nil, ""},
		{"https", "https://" + secure.Addr().String(), trust, ""},
		{"bare with TLS", secure.Addr().String(), trust, ""},
		{"unixs proves its file's name", "unixs://" + secureSocket, trust, ""},
		{"https without trust", "https://" + secure.Addr().String(), nil, "certificate signed by unknown authority"},
		{"https with another name", "https://" + secure.Addr().String(), &tls.Config{RootCAs: roots, ServerName: "other", MinVersion: tls.VersionTLS12}, "not other"},
		{"plain text to TLS", "http://" + secure.Addr().String(), nil, "connection"},
	} {
		t.Run(each.name, func(t *testing.T) {
			t.Parallel()
			c := connect(t, []string{each.endpoint}, func(c *etcdclient.Config) { c.TLS = each.tls })
			if each.fault == "" {
				put(t, c, "k", "v")
				return
			}
			err := c.WaitReady(within(t, 3*time.Second))
			if e := asError(t, err); !strings.Contains(e.ConnError, each.fault) {
				t.Errorf("connection error %q; want the true one, with %q", e.ConnError, each.fault)
			}
		})
	}
	t.Run("mixed", func(t *testing.T) {
		t.Parallel()
		c := ready(t, []string{s.Endpoint(), "https://" + secure.Addr().String(), "unix://" + socket}, func(c *etcdclient.Config) { c.TLS = trust })
		eventually(t, "all three are connected", 5*time.Second, func() bool {
			return gauge(t, c, "etcdrest_etcd_connections", "class", "unary") == 6
		})
		for _, e := range c.Endpoints() {
			if _, err := c.Status(within(t, 5*time.Second), e); err != nil {
				t.Errorf("status at %s: %v", e, err)
			}
		}
	})
}

func TestNewNeverBlocksAndCloseIsIdempotent(t *testing.T) {
	t.Parallel()
	started := time.Now()
	// 192.0.2.0/24 is for documentation: nothing answers there.
	c, err := etcdclient.New(etcdclient.Config{Endpoints: []string{"http://192.0.2.1:2379"}, Username: "u", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Since(started); d > time.Second {
		t.Errorf("New took %v", d)
	}
	failed := make(chan error, 1)
	go func() {
		_, err := c.Range(t.Context(), &wire.RangeRequest{Key: []byte("k")})
		failed <- err
	}()
	for range 3 {
		if err := c.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	if err := <-failed; err == nil {
		t.Error("a call outlived the client")
	}
	_, err = c.Put(t.Context(), &wire.PutRequest{Key: []byte("k")})
	if e := asError(t, err); e.Name != etcdclient.NameClosed || e.Outcome != "not_applied" {
		t.Errorf("after Close: got %+v; want ClientClosed, not_applied", e)
	}
}
