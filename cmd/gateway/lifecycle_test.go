package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// bound is what the promise says; the race detector and other tests on two cores take their share on top.
const coldStart, generous = 1500 * time.Millisecond, 4

func TestDevAnswersSoonOnAColdFolder(t *testing.T) {
	t.Parallel()
	log := newBuffer()
	cmd := exec.CommandContext(t.Context(), "gateway", "dev", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--data-dir="+t.TempDir()) //nolint:gosec // a test's own folder
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	log.waitFor(t, "API ")
	a := call(t, nil, http.MethodPut, urlOf(log.String(), "API")+"/v1/kv/k", `{"value":"v"}`)
	took := time.Since(began)
	if a.status != http.StatusCreated {
		t.Errorf("first request: got %d %s, want 201", a.status, a.body)
	}
	t.Logf("from exec to the first answered write: %v", took)
	if took > generous*coldStart {
		t.Errorf("from exec to the first answered request: got %v, want at most %v", took, generous*coldStart)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("after SIGINT: got %v, want exit 0\n%s", err, log)
	}
}

func TestServeStartsBeforeEtcdAndIsReadyWhenItComes(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	address := strings.TrimPrefix(etcd.Endpoint(), "http://")
	etcd.Close()

	g := start(t, "serve", "--endpoints=http://"+address, "--dial-timeout=1")
	get200(t, g.api+"/livez")
	for _, url := range []string{g.api, g.admin} {
		if a := call(t, nil, http.MethodGet, url+"/readyz", ""); a.status != http.StatusServiceUnavailable {
			t.Errorf("%s/readyz without etcd: got %d, want 503", url, a.status)
		}
	}
	g.log.waitFor(t, "etcd does not answer; /readyz says no until it does")

	embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.Listen = address })
	g.log.waitFor(t, "etcd answers")
	get200(t, g.api+"/readyz")
	get200(t, g.admin+"/readyz")
}

func TestStoppingLetsRequestsFinishAndTellsProbesFirst(t *testing.T) {
	t.Parallel()
	g := dev(t)
	body, feed := net.Pipe()
	done := make(chan answer, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, g.api+"/v1/raw/slow", body)
		if err != nil {
			t.Error(err)
			return
		}
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		if err != nil {
			t.Errorf("the request under way: %v", err)
			done <- answer{}
			return
		}
		_ = resp.Body.Close()
		done <- answer{status: resp.StatusCode}
	}()
	if _, err := feed.Write([]byte("first ")); err != nil {
		t.Fatal(err)
	}
	waitInFlight(t, g)

	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	g.log.waitFor(t, "msg=stopping")
	waitUntil(t, "readiness is off", func() bool {
		a, err := try(t, nil, http.MethodGet, g.admin+"/readyz", "")
		return err == nil && a.status == http.StatusServiceUnavailable
	})
	waitUntil(t, "the listener is closed", func() bool {
		_, err := try(t, nil, http.MethodGet, g.api+"/livez", "")
		return err != nil
	})
	select {
	case err := <-stopped:
		t.Fatalf("stopped with %v while a request was under way", err)
	default:
	}
	if _, err := feed.Write([]byte("last")); err != nil {
		t.Fatal(err)
	}
	if err := feed.Close(); err != nil {
		t.Fatal(err)
	}
	if a := <-done; a.status != http.StatusCreated {
		t.Errorf("the request under way: got %d, want 201", a.status)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stopping: got %v, want nil", err)
	}
}

func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for began := time.Now(); !ok(); {
		if time.Since(began) > 20*time.Second {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestStoppingWhileStartingIsClean(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	log := newBuffer()
	err := run(ctx, []string{"dev", "--listen=127.0.0.1:0", "--admin-listen=", "--data-dir=" + t.TempDir()}, nil, log, log)
	if err != nil || strings.Contains(log.String(), "API") {
		t.Errorf("got %v and %q, want nil and nothing served", err, log)
	}
}

func TestTakenAddressFailsAtOnceAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	taken := strings.TrimPrefix(silentServer(t), "http://")
	for _, name := range []string{"listen", "admin-listen"} {
		_, err := output(t, "dev", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--data-dir="+t.TempDir(), "--"+name+"="+taken)
		if exitCode(err) != exitFailure {
			t.Errorf("--%s: got %v, want a failure", name, err)
			continue
		}
		wantContains(t, name, err.Error(), name+": "+taken+" is already in use by another program")
	}
}

func TestHTTP2WithAndWithoutTLS(t *testing.T) {
	t.Parallel()
	g := dev(t)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	if a := call(t, &http.Client{Transport: transport}, http.MethodGet, g.api+"/livez", ""); a.proto != "HTTP/2.0" || a.status != http.StatusOK {
		t.Errorf("prior knowledge: got %d by %s, want 200 by HTTP/2.0", a.status, a.proto)
	}
	if a := call(t, nil, http.MethodGet, g.api+"/livez", ""); a.proto != "HTTP/1.1" {
		t.Errorf("plain: got %s, want HTTP/1.1", a.proto)
	}
}

func TestRenewedCertificateIsUsedWithoutARestart(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server", 2)
	g := dev(t, "--tls-cert="+cert, "--tls-key="+key)
	address := strings.TrimPrefix(g.api, "https://")
	serial := func() int64 {
		c, err := (&tls.Dialer{Config: &tls.Config{RootCAs: ca.pool}}).DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = c.Close() }()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64()
	}
	if got := serial(); got != 2 {
		t.Fatalf("serial: got %d, want 2", got)
	}

	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, key, "no key")
	waitUntil(t, "the broken file is told", func() bool {
		if got := serial(); got != 2 {
			t.Fatalf("serial while the files are broken: got %d, want 2", got)
		}
		return strings.Contains(g.log.String(), "the former ones stay")
	})
	write(t, key, string(content))
	ca.issue(t, "server", 3)
	waitUntil(t, "the renewed certificate is used", func() bool { return serial() == 3 })
}

func TestAdminListener(t *testing.T) {
	t.Parallel()
	g := dev(t)
	call(t, nil, http.MethodPut, g.api+"/v1/kv/k", `{"value":"v"}`)
	metrics := get200(t, g.admin+"/metrics")
	for _, want := range []string{
		`etcdrest_http_requests_total{method="PUT",route=`, "go_goroutines", "process_open_fds", "etcdrest_etcd_calls_total", "etcdrest_build_info{",
	} {
		wantContains(t, "metrics", metrics, want)
	}
	for _, path := range []string{"/livez", "/readyz", "/debug/pprof/", "/debug/pprof/goroutine?debug=1", "/debug/pprof/cmdline"} {
		get200(t, g.admin+path)
	}
	wantContains(t, "the configuration", get200(t, g.admin+"/debug/config"), "request-timeout: 30")
	for path, headers := range map[string][]string{
		"/metrics": {"Host", "rebound.example"}, "/debug/pprof/": {"Sec-Fetch-Site", "cross-site"},
	} {
		if a := call(t, nil, http.MethodGet, g.admin+path, "", headers...); a.status < 400 {
			t.Errorf("%s with %v: got %d, want a refusal", path, headers, a.status)
		}
	}
	if a := call(t, nil, http.MethodGet, g.admin+"/v1/kv/k", ""); a.status != http.StatusNotFound || strings.Contains(a.body, "create_revision") {
		t.Errorf("the API on the admin listener: got %d %s, want 404", a.status, a.body)
	}
}

func TestProductionBuildHasNoServer(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-tags", "nodev", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if strings.Contains(string(out), "etcd/server/v3/embed\n") || strings.Contains(string(out), "internal/embedetcd\n") {
		t.Error("the build with the tag nodev links etcd's server")
	}
	program := filepath.Join(t.TempDir(), "gateway")
	out, err = exec.CommandContext(t.Context(), "go", "build", "-tags", "nodev", "-o", program, ".").CombinedOutput() //nolint:gosec // a test's own file
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	out, err = exec.CommandContext(t.Context(), program, "dev", "--listen=127.0.0.1:0", "--admin-listen=").CombinedOutput() //nolint:gosec // a test's own file
	if err == nil || !strings.Contains(string(out), "built without an etcd of its own (build tag nodev)") {
		t.Errorf("gateway dev: got %v, %s; want that it says so", err, out)
	}
}
