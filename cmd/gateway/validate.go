package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// validate checks what no single option can see, and what only the machine knows (files). Each fault says what would be
// right.
func (c *Config) validate(command string) []string {
	v := validation{config: c}
	if command == tokenName {
		v.token()
		return v.faults
	}
	if command != doctorName {
		v.listeners(command)
		v.serverTLS()
		v.callers()
		v.logs()
	}
	if command == devName {
		v.dev()
	} else {
		v.cluster(command)
	}
	v.together("etcd-user", c.EtcdUser, "etcd-password-file", c.EtcdPasswordFile)
	if _, err := c.password(); err != nil {
		v.fault("etcd-password-file: %v", err)
	}
	return v.faults
}

type validation struct {
	config *Config
	faults []string
}

func (v *validation) fault(format string, args ...any) {
	v.faults = append(v.faults, fmt.Sprintf(format, args...))
}

// together demands both or neither of two options.
func (v *validation) together(a, valueA, b, valueB string) {
	if valueA == "" && valueB != "" {
		a, b = b, a
	}
	if (valueA == "") != (valueB == "") {
		v.fault("%s is given without %s; give both or neither", a, b)
	}
}

func (v *validation) listeners(command string) {
	c := v.config
	v.listener("listen", c.Listen, c.access.asks())
	if c.AdminListen != "" {
		v.listener("admin-listen", c.AdminListen, false)
	}
	if command == devName || c.source("etcd-listen") != fromDefault {
		v.listener("etcd-listen", c.EtcdListen, false)
	}
	if _, port, _ := net.SplitHostPort(c.Listen); c.Listen == c.AdminListen && port != "0" {
		v.fault("listen and admin-listen are both %s; give each its own address", c.Listen)
	}
}

// listener checks an address, and that nobody beyond this machine reaches it while callers are not asked who they are.
func (v *validation) listener(name, address string, asks bool) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		v.fault("%s: %q is not HOST:PORT, such as 127.0.0.1:8379 or [::1]:8379", name, address)
		return
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		v.fault("%s: %q has no port from 0 to 65535", name, address)
	}
	if asks || v.config.InsecureNoAuth || isLoopback(host) {
		return
	}
	instead := "use a loopback address such as 127.0.0.1, or say --insecure-no-auth"
	if name == "listen" {
		instead = "say under auth in the file of --config how callers are known, " + instead
	}
	v.fault("%s: %q can be reached from other machines, and nobody is asked there who he is; %s", name, address, instead)
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

func (v *validation) serverTLS() {
	c := v.config
	v.together("tls-cert", c.TLSCert, "tls-key", c.TLSKey)
	v.keyPair("tls-cert", c.TLSCert, c.TLSKey)
	if c.TLSClientCA != "" {
		if c.TLSCert == "" {
			v.fault("tls-client-ca is given without tls-cert; clients show certificates only over TLS")
		}
		v.authorities("tls-client-ca", c.TLSClientCA)
	}
}

func (v *validation) callers() {
	v.access()
	if u := v.config.PublicURL; u != "" && !isWebURL(u) {
		v.fault("public-url: %q is not a URL such as https://etcd.example or https://example.org/etcd", u)
	}
	if u := v.config.AdvertiseURL; u != "" && !isClientURL(u) {
		v.fault("advertise-url: %q is not a client URL as members of etcd have them, such as https://etcd.example:8379", u)
	}
	for _, origin := range v.config.AllowedOrigins {
		if u, err := url.Parse(origin); !isWebURL(origin) || err != nil || u.Path != "" {
			v.fault("allowed-origins: %q is not an origin as browsers send it, such as https://app.example or http://localhost:3000", origin)
		}
	}
	for _, name := range v.config.AllowedHosts {
		if strings.ContainsAny(name, "/*@ ") || (strings.Contains(name, ":") && net.ParseIP(name) == nil) {
			v.fault("allowed-hosts: %q is not a plain name; leave out scheme, port and wildcards", name)
		}
	}
}

// access checks the sections auth and policy, with the files that they name.
func (v *validation) access() {
	c := v.config
	_, _, faults := c.access.open(nil)
	v.faults = append(v.faults, faults...)
	if can, _ := c.access.byCertificate(); can && c.TLSClientCA == "" {
		v.fault("auth: callers cannot be known by certificates (mtls) without tls-client-ca, the authorities that issue them")
	}
}

// isWebURL tells whether s is http or https, with a host, and without what has no place in a base.
func isWebURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" &&
		u.User == nil && u.RawQuery == "" && u.Fragment == ""
}

func (v *validation) logs() {
	c := v.config
	if c.AuditLog == "off" {
		v.fault("audit-log: to have none, leave it out or empty; a file of that name would be ./off")
	}
	if c.AccessLog == "" {
		v.fault("access-log is empty; use off, stdout, stderr or the name of a file")
	}
	if c.AccessLog == c.AuditLog && c.AuditLog != "stdout" && c.AuditLog != "stderr" {
		v.fault("access-log and audit-log are both %s; give each a file of its own", c.AuditLog)
	}
	if u := c.OTLPEndpoint; u != "" && !isWebURL(u) {
		v.fault("otlp-endpoint: a URL such as http://127.0.0.1:4318 is needed, without a user, a query or a fragment; " +
			"headers for the collector go in OTEL_EXPORTER_OTLP_HEADERS")
	}
}

// isClientURL tells whether s is scheme, host and port, and nothing else.
func isClientURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && isWebURL(s) && u.Hostname() != "" && u.Port() != "" && u.Path == ""
}

func (v *validation) dev() {
	if len(v.config.Endpoints) > 0 {
		v.fault("endpoints is given (by %s), but `gateway dev` runs an etcd of its own; "+
			"take it out, or type `gateway serve`", v.config.source("endpoints"))
	}
	if v.config.DataDir == "" {
		v.fault("data-dir is empty; name a folder, such as ./etcdrest-data")
	}
}

func (v *validation) cluster(command string) {
	c := v.config
	switch {
	case len(c.Endpoints) > 0:
	case command == doctorName && c.DoctorURL != "":
	case command == doctorName:
		v.fault("there is nothing to probe: give --endpoints http://127.0.0.1:2379, or --url with the address of a gateway")
	default:
		v.fault("no etcd is named: type `gateway serve --endpoints http://127.0.0.1:2379` with the client URLs of your cluster, " +
			"or `gateway dev` for an etcd of its own")
	}
	if c.DoctorURL != "" && !isWebURL(c.DoctorURL) {
		v.fault("url: %q is not a URL such as https://etcd.example", c.DoctorURL)
	}
	for _, endpoint := range c.Endpoints {
		v.endpoint(endpoint)
	}
	tlsEndpoint := slices.ContainsFunc(c.Endpoints, func(e string) bool {
		return strings.HasPrefix(e, "https:") || strings.HasPrefix(e, "unix")
	})
	if len(c.Endpoints) > 0 && !tlsEndpoint && c.EtcdCACert+c.EtcdCert != "" {
		v.fault("etcd-cacert or etcd-cert is given, but no endpoint is https; write https:// in endpoints")
	}
	v.together("etcd-cert", c.EtcdCert, "etcd-key", c.EtcdKey)
	v.keyPair("etcd-cert", c.EtcdCert, c.EtcdKey)
	if c.EtcdCACert != "" {
		v.authorities("etcd-cacert", c.EtcdCACert)
	}
}

func (v *validation) endpoint(endpoint string) {
	const right = "use a client URL of etcd such as http://127.0.0.1:2379"
	u, err := url.Parse(endpoint)
	switch {
	case err != nil || u.Scheme == "" || (u.Opaque != "" && !strings.HasPrefix(u.Scheme, "unix")):
		v.fault("endpoints: %q has no scheme; %s", endpoint, right)
	case u.User != nil:
		v.fault("endpoints: a URL holds a user or password; use etcd-user and etcd-password-file")
	case u.Scheme == "unix" || u.Scheme == "unixs":
	case u.Scheme != "http" && u.Scheme != "https":
		v.fault("endpoints: %q is neither http nor https; %s", endpoint, right)
	case u.Port() == "" || u.Hostname() == "":
		v.fault("endpoints: %q needs a host and a port; %s", endpoint, right)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		v.fault("endpoints: %q has a path or a query; %s", endpoint, right)
	}
}

func (v *validation) keyPair(name, cert, key string) {
	if cert == "" || key == "" {
		return
	}
	if _, err := tls.LoadX509KeyPair(cert, key); err != nil {
		v.fault("%s: %v", name, err)
	}
}

func (v *validation) authorities(name, file string) {
	if _, err := loadAuthorities(file); err != nil {
		v.fault("%s: %v", name, err)
	}
}

func loadAuthorities(file string) (*x509.CertPool, error) {
	content, err := os.ReadFile(file) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("%s holds no PEM certificate", file)
	}
	return pool, nil
}

// password reads the password of etcd-user; it is empty when none is configured.
func (c *Config) password() (string, error) {
	if c.EtcdPasswordFile == "" {
		return "", nil
	}
	return readPassword(c.EtcdPasswordFile)
}
