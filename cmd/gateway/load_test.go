package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func loaded(t *testing.T, command string, environ []string, args ...string) (Config, []string) {
	t.Helper()
	cmd, _, err := findCommand([]string{command})
	if err != nil {
		t.Fatal(err)
	}
	c, err := load(process{command: cmd, args: args, environ: environ})
	if err == nil {
		return c, nil
	}
	usage, ok := errors.AsType[*usageError](err)
	if !ok {
		t.Fatalf("got %v, want a usage error", err)
	}
	return c, usage.faults
}

func TestFlagWinsOverEnvironmentOverFileOverDefault(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "c.yaml"), "request-timeout: 11\nmax-body-bytes: 1MiB\nshutdown-grace: 13\n")
	c, faults := loaded(t, "dev", []string{"ETCDREST_CONFIG=" + file, "ETCDREST_REQUEST_TIMEOUT=21", "ETCDREST_MAX_BODY_BYTES=2MiB", "PATH=/bin"},
		"--request-timeout", "31s")
	if faults != nil {
		t.Fatal(faults)
	}
	if c.RequestTimeout != 31*time.Second || c.MaxBodyBytes != 2<<20 || c.ShutdownGrace != 13*time.Second || c.DialTimeout != 5*time.Second {
		t.Errorf("got %v, %d, %v, %v; want 31s of the flag, 2 MiB of the variable, 13s of the file, 5s by default",
			c.RequestTimeout, c.MaxBodyBytes, c.ShutdownGrace, c.DialTimeout)
	}
	for name, want := range map[string]source{
		"request-timeout": fromFlag, "max-body-bytes": fromEnvironment, "shutdown-grace": fromFile, "dial-timeout": fromDefault,
	} {
		if got := c.source(name); got != want {
			t.Errorf("source of %s: got %s, want %s", name, got, want)
		}
	}
}

func TestEveryFaultOfEverySourceIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	file := write(t, filepath.Join(t.TempDir(), "c.yaml"), `# a comment
lisen: 127.0.0.1:1
admin_listen: x
endpoints: [ftp://a, "http://u:p@b:1"]
log-format: jsn
tls-cert: /absent/cert.pem
url: http://x
config: other.yaml
max-connections: {a: 1}
shutdown-grace:
`)
	_, faults := loaded(t, "serve", []string{"ETCDREST_LOG_LEVL=debug", "ETCDREST_DIAL_TIMEOUT=1.5s"},
		"--config", file, "--allowed-origns", "https://x", "--allowed-origins=*", "--data-dir=x", "stray", "--request-timeout=301",
		"--listen=0.0.0.0:70000", "--public-url=etcd.example", "--allowed-hosts=https://a", "--etcd-user=root", "--tls-client-ca=/absent", "--log-level")
	wants := []string{
		"--allowed-origns is unknown; did you mean --allowed-origins?",
		"--data-dir is no flag of `gateway serve`; it belongs to dev, check-config",
		`"stray" is not a flag`,
		"--log-level needs a value",
		"ETCDREST_LOG_LEVL is unknown; did you mean ETCDREST_LOG_LEVEL?",
		"c.yaml:2: lisen is unknown; did you mean listen?",
		"c.yaml:3: admin_listen is unknown; did you mean admin-listen?",
		"c.yaml:7: url is unknown",
		"c.yaml:8: config cannot be set in the file itself",
		"c.yaml:9: max-connections takes one value",
		`c.yaml:10: shutdown-grace has no value; write "" for an empty one`,
		`log-format in the file: "jsn" is not one of text, json; did you mean json?`,
		`ETCDREST_DIAL_TIMEOUT: "1.5s" is not a whole number of seconds; write 30 or 30s`,
		`--request-timeout: "301" is out of bounds; use 1 to 300 seconds`,
		`listen: "0.0.0.0:70000" has no port from 0 to 65535`,
		`listen: "0.0.0.0:70000" can be reached from other machines`,
		"tls-cert is given without tls-key",
		"tls-client-ca: open /absent: no such file or directory",
		`public-url: "etcd.example" is not a URL`,
		`allowed-origins: "*" is not an origin`,
		`allowed-hosts: "https://a" is not a plain name`,
		`endpoints: "ftp://a" is neither http nor https`,
		"endpoints: a URL holds a user or password",
		"etcd-user is given without etcd-password-file",
	}
	for _, want := range wants {
		if !slices.ContainsFunc(faults, func(f string) bool { return strings.Contains(f, want) }) {
			t.Errorf("no fault says %q", want)
		}
	}
	if len(faults) != len(wants) {
		t.Errorf("got %d faults, want %d:\n%s", len(faults), len(wants), strings.Join(faults, "\n"))
	}
}

func TestFileIsRead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ content, fault string }{
		"lists":         {"endpoints: [http://a:1, http://b:2]\nallowed-hosts:\n  - x\n  - y\n", ""},
		"comma list":    {"endpoints: http://a:1,http://b:2\nallowed-hosts: x, y\n", ""},
		"duplicate":     {"endpoints: http://a:1\nendpoints: http://b:1\n", `c.yaml:2: `},
		"no YAML":       {"endpoints: [http://a:1\n", "c.yaml:1: "},
		"a list":        {"- endpoints\n", "use one option a line"},
		"two documents": {"endpoints: http://a:1\n---\nendpoints: http://a:2\n", "more than one YAML document"},
		"a nested item": {"endpoints: [[http://a:1]]\n", "endpoints: an item is not a plain value"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := write(t, filepath.Join(t.TempDir(), "c.yaml"), c.content)
			config, faults := loaded(t, "serve", nil, "--config", file)
			if c.fault != "" {
				if len(faults) == 0 || !strings.Contains(faults[0], c.fault) {
					t.Errorf("got %q, want a fault with %q", faults, c.fault)
				}
				return
			}
			if faults != nil || !slices.Equal(config.Endpoints, []string{"http://a:1", "http://b:2"}) || !slices.Equal(config.AllowedHosts, []string{"x", "y"}) {
				t.Errorf("got %v, %v, %v; want two endpoints and two hosts", config.Endpoints, config.AllowedHosts, faults)
			}
		})
	}
	for name, content := range map[string]string{"empty": "", "comments": "# nothing\n"} {
		file := write(t, filepath.Join(t.TempDir(), "c.yaml"), content)
		if _, faults := loaded(t, "dev", nil, "--config", file); faults != nil {
			t.Errorf("%s: got %v, want no fault", name, faults)
		}
	}
}

// A Service named etcdrest makes Kubernetes put these into every container of the namespace.
func TestKubernetesServiceVariablesAreNotOptions(t *testing.T) {
	t.Parallel()
	_, faults := loaded(t, "dev", []string{
		"ETCDREST_SERVICE_HOST=10.0.0.7", "ETCDREST_SERVICE_PORT=8379", "ETCDREST_SERVICE_PORT_HTTP=8379", "ETCDREST_PORT=tcp://10.0.0.7:8379",
		"ETCDREST_PORT_8379_TCP=tcp://10.0.0.7:8379", "ETCDREST_PORT_8379_TCP_PROTO=tcp", "ETCDREST_PORT_8379_TCP_PORT=8379",
		"ETCDREST_PORT_8379_TCP_ADDR=10.0.0.7", "ETCDREST_ADMIN_SERVICE_HOST=10.0.0.8", "ETCDREST_ADMIN_PORT=tcp://10.0.0.8:8380",
	})
	if faults != nil {
		t.Errorf("got %v, want none", faults)
	}
	if _, faults := loaded(t, "dev", []string{"ETCDREST_PORT=8379"}); len(faults) != 1 {
		t.Errorf("ETCDREST_PORT=8379, which Kubernetes does not write: got %v, want one fault", faults)
	}
}

func TestLoopbackNeedsNoFlag(t *testing.T) {
	t.Parallel()
	for listen, ok := range map[string]bool{
		"127.0.0.1:0": true, "127.9.9.9:1": true, "[::1]:0": true, "localhost:0": true,
		"0.0.0.0:1": false, ":1": false, "[::]:1": false, "192.0.2.1:1": false, "example.org:1": false, "localhost.example:1": false,
	} {
		_, faults := loaded(t, "dev", nil, "--listen="+listen)
		if (faults == nil) != ok {
			t.Errorf("--listen=%s: got %v, want accepted: %t", listen, faults, ok)
		}
		if !ok && !strings.Contains(faults[0], "--insecure-no-auth") {
			t.Errorf("--listen=%s: got %q, want it to name --insecure-no-auth", listen, faults[0])
		}
	}
}

func TestDevRefusesTheEndpointsOfAnother(t *testing.T) {
	t.Parallel()
	_, faults := loaded(t, "dev", []string{"ETCDREST_ENDPOINTS=http://127.0.0.1:2379"})
	if len(faults) != 1 || !strings.Contains(faults[0], "endpoints is given (by environment), but `gateway dev` runs an etcd of its own") {
		t.Errorf("got %q, want that dev does not use endpoints", faults)
	}
}

// The printed configuration is a file that gives the same configuration.
func TestPrintedConfigurationCanBeReadBack(t *testing.T) {
	t.Parallel()
	args := []string{
		"--endpoints=http://a:1,http://b:2", "--allowed-hosts=x", "--admin-listen=", "--max-body-bytes=3KiB",
		"--request-timeout=7", "--insecure-no-auth", "--listen=:1",
	}
	var first, second strings.Builder
	c, faults := loaded(t, "check-config", nil, args...)
	if faults != nil {
		t.Fatal(faults)
	}
	if err := c.write(&first); err != nil {
		t.Fatal(err)
	}
	c, faults = loaded(t, "check-config", nil, "--config="+write(t, filepath.Join(t.TempDir(), "c.yaml"), first.String()))
	if faults != nil {
		t.Fatal(faults)
	}
	if err := c.write(&second); err != nil {
		t.Fatal(err)
	}
	plain := func(s string) string { // without the sources
		var lines []string
		for line := range strings.Lines(s) {
			value, _, _ := strings.Cut(line, " # ")
			lines = append(lines, strings.TrimSpace(value))
		}
		return strings.Join(lines, "\n")
	}
	if plain(first.String()) != plain(second.String()) {
		t.Errorf("read back:\n%s\nwant:\n%s", plain(second.String()), plain(first.String()))
	}
}
