package main

import (
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// reloader keeps what was made from files in step with them, so that certificates are renewed without a restart. The
// files are looked at when the value is needed, at most once a second; a broken one is logged and the former value kept.
type reloader[T any] struct {
	files []string
	load  func() (T, error)
	log   *slog.Logger

	mu      sync.Mutex
	value   T
	stamp   string
	checked time.Time
}

func newReloader[T any](log *slog.Logger, load func() (T, error), files ...string) (*reloader[T], error) {
	r := &reloader[T]{files: files, load: load, log: log, stamp: stampOf(files), checked: time.Now()}
	var err error
	r.value, err = load()
	return r, err
}

func (r *reloader[T]) get() T {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.checked) < time.Second {
		return r.value
	}
	r.checked = time.Now()
	stamp := stampOf(r.files)
	if stamp == r.stamp {
		return r.value
	}
	r.stamp = stamp // of the attempt: a broken file is told once, and tried again when it changes
	value, err := r.load()
	if err != nil {
		r.log.Error("certificate files have changed, but cannot be used; the former ones stay", "files", r.files, "cause", err.Error()) //nolint:sloglint // a handshake has no context
		return r.value
	}
	r.value = value
	r.log.Info("certificate files have changed and are used from now on", "files", r.files) //nolint:sloglint // a handshake has no context
	return r.value
}

// stampOf tells one state of files from another by their times and sizes.
func stampOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			b.WriteString("absent;")
			continue
		}
		b.WriteString(strconv.FormatInt(info.ModTime().UnixNano(), 10) + "," + strconv.FormatInt(info.Size(), 10) + ";")
	}
	return b.String()
}

// serverTLS is the TLS side of the API, and the authorities of its clients' certificates as they are now; nil when it speaks
// plain HTTP.
func (c *Config) serverTLS(log *slog.Logger) (config *tls.Config, authorities func() *x509.CertPool, err error) {
	if c.TLSCert == "" {
		return nil, nil, nil
	}
	load := func() (*tls.Config, error) {
		pair, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, err
		}
		config := &tls.Config{
			MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2", "http/1.1"},
		}
		if c.TLSClientCA != "" {
			if config.ClientCAs, err = loadAuthorities(c.TLSClientCA); err != nil {
				return nil, err
			}
			config.ClientAuth = tls.RequireAndVerifyClientCert
			if can, others := c.access.byCertificate(); can && others { // who has none can be known in another way
				config.ClientAuth = tls.VerifyClientCertIfGiven
			}
		}
		return config, nil
	}
	current, err := newReloader(log, load, c.TLSCert, c.TLSKey, c.TLSClientCA)
	if err != nil {
		return nil, nil, err
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return current.get(), nil },
	}, func() *x509.CertPool { return current.get().ClientCAs }, nil
}

// clientTLS is the TLS side towards etcd, and its authorities; nil means Go's defaults.
func (c *Config) clientTLS(log *slog.Logger) (config *tls.Config, roots func() *x509.CertPool, err error) {
	if c.EtcdCACert == "" && c.EtcdCert == "" {
		return nil, nil, nil
	}
	config = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.EtcdCACert != "" {
		load := func() (*x509.CertPool, error) { return loadAuthorities(c.EtcdCACert) }
		current, err := newReloader(log, load, c.EtcdCACert)
		if err != nil {
			return nil, nil, err
		}
		roots, config.RootCAs = current.get, current.get()
	}
	if c.EtcdCert != "" {
		load := func() (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(c.EtcdCert, c.EtcdKey)
			return &pair, err
		}
		current, err := newReloader(log, load, c.EtcdCert, c.EtcdKey)
		if err != nil {
			return nil, nil, err
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return current.get(), nil }
	}
	return config, roots, nil
}
