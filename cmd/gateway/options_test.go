package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

// TestEveryOptionActs flips each option of the table and sees what it does. An option without a case here fails.
//
//nolint:thelper // the cases are the test
func TestEveryOptionActs(t *testing.T) {
	t.Parallel()
	cases := map[string]func(*testing.T){
		"listen": func(t *testing.T) {
			g := dev(t, "--listen=127.0.0.2:0")
			wantPrefix(t, "the API's URL", g.api, "http://127.0.0.2:")
			get200(t, g.api+"/livez")
		},
		"admin-listen": func(t *testing.T) {
			g := dev(t, "--admin-listen=127.0.0.2:0")
			wantPrefix(t, "the admin URL", g.admin, "http://127.0.0.2:")
			get200(t, g.admin+"/metrics")
			if g := dev(t, "--admin-listen="); g.admin != "" {
				t.Errorf("empty admin-listen: got a listener at %s, want none", g.admin)
			}
		},
		"config": func(t *testing.T) {
			file := write(t, filepath.Join(t.TempDir(), "c.yaml"), "listen: 127.0.0.2:0\nadmin-listen: ''\n")
			g := dev(t, "--config="+file)
			wantPrefix(t, "the API's URL", g.api, "http://127.0.0.2:")
		},
		"tls-cert": flipTLS, "tls-key": flipTLS,
		"tls-client-ca": func(t *testing.T) {
			ca := newAuthority(t)
			cert, key := ca.issue(t, "server", 2)
			g := dev(t, "--tls-cert="+cert, "--tls-key="+key, "--tls-client-ca="+ca.file)
			if _, err := try(t, ca.client(nil), http.MethodGet, g.api+"/livez", ""); err == nil {
				t.Error("without a certificate: got an answer, want a refused handshake")
			}
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			if a := call(t, ca.client(&pair), http.MethodGet, g.api+"/livez", ""); a.status != http.StatusOK {
				t.Errorf("with a certificate: got %d, want 200", a.status)
			}
		},
		"max-connections": func(t *testing.T) {
			g := dev(t, "--max-connections=1")
			address := strings.TrimPrefix(g.api, "http://")
			dial(t, address)
			resp, err := http.ReadResponse(bufio.NewReader(dial(t, address)), nil)
			if err != nil {
				t.Fatal(err)
			}
			var problem struct {
				Code   string
				Status int
			}
			if err := json.NewDecoder(resp.Body).Decode(&problem); err != nil || resp.StatusCode != http.StatusServiceUnavailable || problem.Code != "overloaded" {
				t.Errorf("connection beyond the limit: got %d %+v %v, want 503 overloaded", resp.StatusCode, problem, err)
			}
			_ = resp.Body.Close()
		},
		"insecure-no-auth": func(t *testing.T) {
			g := dev(t, "--listen=0.0.0.0:0", "--insecure-no-auth")
			_, port, _ := net.SplitHostPort(strings.TrimPrefix(g.api, "http://"))
			get200(t, "http://127.0.0.1:"+port+"/livez")
			for _, name := range []string{"listen", "admin-listen", "etcd-listen"} {
				wantUsage(t, []string{"dev", "--" + name + "=0.0.0.0:0"}, name+`: "0.0.0.0:0" can be reached from other machines`)
			}
		},
		"public-url": func(t *testing.T) {
			g := dev(t, "--public-url=https://etcd.example/store")
			wantContains(t, "a problem", call(t, nil, http.MethodGet, g.api+"/v1/kv/absent", "").body, "https://etcd.example/store/problems/key_not_found")
		},
		"advertise-url": func(t *testing.T) {
			const list, url = `"clientURLs":["`, "https://etcd.example:8379"
			g := dev(t, "--advertise-url="+url)
			for _, version := range []string{"v3", "v3beta", "v3alpha"} {
				a := call(t, nil, http.MethodPost, g.api+"/"+version+"/cluster/member/list", "{}")
				wantContains(t, version, a.body, list+url+`"]`)
			}
			wantContains(t, "the native cluster", get200(t, g.api+"/v1/cluster"), `"client_urls":["`+g.etcd+`"]`)
			g = dev(t)
			a := call(t, nil, http.MethodPost, g.api+"/v3/cluster/member/list", "{}")
			wantContains(t, "without it", a.body, list+g.etcd+`"]`)
			for _, wrong := range []string{"etcd.example:8379", "https://etcd.example", "https://etcd.example:8379/", "https://u:p@etcd.example:1", "ftp://e:1"} {
				wantUsage(t, []string{"dev", "--advertise-url=" + wrong}, "advertise-url: \""+wrong+"\" is not a client URL")
			}
		},
		"allowed-hosts": func(t *testing.T) {
			g := dev(t, "--allowed-hosts=etcd.example,other.example")
			for host, want := range map[string]int{"etcd.example": 404, "other.example": 404, "foreign.example": 421} {
				if a := call(t, nil, http.MethodGet, g.api+"/v1/kv/absent", "", "Host", host); a.status != want {
					t.Errorf("Host %s: got %d, want %d", host, a.status, want)
				}
				wantAdmin := map[int]int{404: 200, 421: 421}[want]
				if a := call(t, nil, http.MethodGet, g.admin+"/metrics", "", "Host", host); a.status != wantAdmin {
					t.Errorf("admin, Host %s: got %d, want %d", host, a.status, wantAdmin)
				}
			}
		},
		"allowed-origins": func(t *testing.T) {
			g := dev(t, "--allowed-origins=https://app.example")
			for origin, want := range map[string]int{"https://app.example": 404, "https://evil.example": 403} {
				a := call(t, nil, http.MethodGet, g.api+"/v1/kv/absent", "", "Origin", origin, "Sec-Fetch-Site", "cross-site")
				if a.status != want {
					t.Errorf("Origin %s: got %d, want %d", origin, a.status, want)
				}
			}
		},
		"access-log": func(t *testing.T) {
			g := dev(t, "--access-log=stderr")
			get200(t, g.api+"/livez")
			g.log.waitFor(t, `"operation":"getLivez"`)
			wantUsage(t, []string{"dev", "--access-log="}, "access-log is empty; use off, stdout, stderr")
			if _, err := output(t, "dev", "--listen=127.0.0.1:0", "--admin-listen=", "--data-dir="+t.TempDir(), "--access-log=/no/such/folder/log"); exitCode(err) != exitFailure {
				t.Errorf("a file that cannot be made: got %v, want a failure", err)
			}
		},
		"audit-log": func(t *testing.T) {
			g := dev(t, "--audit-log=stderr")
			put(t, g, "k", 1)
			wantContains(t, "the log", g.log.String(), `"ops":[{"op":"put","key":"k"`)
			wantUsage(t, []string{"dev", "--audit-log=off"}, "audit-log: to have none")
			wantUsage(t, []string{"dev", "--audit-log=one", "--access-log=one"}, "give each a file of its own")
		},
		"audit-failure": func(t *testing.T) {
			g := dev(t, "--audit-log=/dev/full", "--audit-failure=continue")
			put(t, g, "k", 1)
			put(t, g, "k", 1)
		},
		"otlp-endpoint": func(t *testing.T) {
			o := newOTLP(t)
			g := dev(t, "--otlp-endpoint="+o.url)
			get200(t, g.api+"/livez")
			if err := g.stop(); err != nil || len(o.named("GET /livez")) != 1 {
				t.Errorf("stopped with %v and %d spans, want the one of the request", err, len(o.named("GET /livez")))
			}
			wantUsage(t, []string{"dev", "--otlp-endpoint=http://user:secret@127.0.0.1:4318"}, "otlp-endpoint: a URL such as http://127.0.0.1:4318")
		},
		"trace-ratio": func(t *testing.T) {
			o := newOTLP(t)
			g := dev(t, "--otlp-endpoint="+o.url, "--trace-ratio=0")
			get200(t, g.api+"/livez")
			call(t, nil, http.MethodGet, g.api+"/livez", "", "Traceparent", "00-11111111111111111111111111111111-2222222222222222-01")
			if err := g.stop(); err != nil || len(o.named("GET /livez")) != 1 {
				t.Errorf("stopped with %v and %d spans, want the one that its caller samples", err, len(o.named("GET /livez")))
			}
			wantUsage(t, []string{"dev", "--trace-ratio=2"}, `"2" is not a number from 0 to 1`)
		},
		"trace-parent": func(t *testing.T) {
			const caller = "11111111111111111111111111111111"
			for _, c := range []struct {
				parent string
				links  int
				trace  string
			}{{"follow", 0, caller}, {"link", 1, ""}, {"ignore", 0, ""}} {
				for _, ratio := range []string{"0", "1"} {
					o := newOTLP(t)
					g := dev(t, "--otlp-endpoint="+o.url, "--trace-ratio="+ratio, "--trace-parent="+c.parent)
					call(t, nil, http.MethodGet, g.api+"/livez", "", "Traceparent", "00-"+caller+"-2222222222222222-01")
					if err := g.stop(); err != nil {
						t.Error(err)
					}
					spans := o.named("GET /livez")
					if want := c.parent == "follow" || ratio == "1"; (len(spans) == 1) != want {
						t.Errorf("%s with the ratio %s: got %d spans; want one: %v", c.parent, ratio, len(spans), want)
					}
					for _, s := range spans {
						if hex.EncodeToString(s.GetTraceId()) == caller != (c.trace == caller) || len(s.GetLinks()) != c.links ||
							c.links > 0 && hex.EncodeToString(s.GetLinks()[0].GetTraceId()) != caller {
							t.Errorf("%s: got %v", c.parent, s)
						}
					}
				}
			}
			wantUsage(t, []string{"dev", "--trace-parent=both"}, `"both"`)
		},
		"endpoints": func(t *testing.T) {
			etcd := embedetcd.StartForTest(t)
			putDirectly(t, etcd, "k", "from etcd")
			g := start(t, "serve", "--endpoints=http://127.0.0.1:1", "--endpoints="+etcd.Endpoint())
			wantContains(t, "the value", get200(t, g.api+"/v1/kv/k"), "from etcd")
		},
		"etcd-cacert": flipEtcdTLS, "etcd-cert": flipEtcdTLS, "etcd-key": flipEtcdTLS,
		"etcd-user": flipEtcdUser, "etcd-password-file": flipEtcdUser,
		"dial-timeout": func(t *testing.T) {
			g := start(t, "serve", "--endpoints="+silentServer(t), "--dial-timeout=1", "--request-timeout=60")
			wantQuick(t, g, http.StatusServiceUnavailable)
		},
		"request-timeout": func(t *testing.T) {
			g := start(t, "serve", "--endpoints="+silentServer(t), "--dial-timeout=60", "--request-timeout=1")
			wantQuick(t, g, http.StatusGatewayTimeout)
		},
		"idle-timeout": func(t *testing.T) {
			g := dev(t, "--idle-timeout=1")
			c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(g.api, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := io.WriteString(c, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
			answer, err := io.ReadAll(c)
			if err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
				t.Errorf("got %.40q, then %v; want an answer, and the connection closed", answer, err)
			}
		},
		"shutdown-grace": func(t *testing.T) {
			g := start(t, "serve", "--endpoints="+silentServer(t), "--dial-timeout=60", "--request-timeout=60", "--shutdown-grace=1")
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = try(t, nil, http.MethodGet, g.api+"/v1/kv/k", "")
			}()
			waitInFlight(t, g)
			began := time.Now()
			if err := g.stop(); err != nil {
				t.Errorf("stopping with a hung request: got %v, want no error", err)
			}
			if d := time.Since(began); d < 900*time.Millisecond || d > 10*time.Second {
				t.Errorf("stopping took %v, want about the grace of 1 s", d)
			}
			<-ended
			wantContains(t, "the log", g.log.String(), "requests were cut")
		},
		"max-body-bytes": func(t *testing.T) {
			g := dev(t, "--max-body-bytes=1KiB")
			if a := call(t, nil, http.MethodPut, g.api+"/v1/kv/k", `{"value":"`+strings.Repeat("x", 1024)+`"}`); a.status != http.StatusRequestEntityTooLarge {
				t.Errorf("a body beyond the limit: got %d, want 413", a.status)
			}
		},
		"max-value-bytes": func(t *testing.T) {
			g := dev(t, "--max-value-bytes=100")
			for path, body := range map[string]string{"/v1/raw/k": strings.Repeat("x", 101), "/v1/kv/k": `{"value":"` + strings.Repeat("x", 101) + `"}`} {
				if a := call(t, nil, http.MethodPut, g.api+path, body); a.status != http.StatusRequestEntityTooLarge {
					t.Errorf("PUT %s beyond the limit: got %d, want 413", path, a.status)
				}
			}
		},
		"max-revision-bytes": func(t *testing.T) {
			g := dev(t, "--max-revision-bytes=1KiB")
			in := follow(t, g.api+"/v1/watch?key=k")
			put(t, g, "k", 100)
			put(t, g, "k", 2000)
			if !scanTo(in, `"type":"events"`) || !in.Scan() || !strings.Contains(in.Text(), `"code":"revision_too_large"`) {
				t.Errorf("after a revision beyond the limit: got %q, want revision_too_large behind the one within", in.Text())
			}
		},
		"watch-log-bytes": func(t *testing.T) {
			for size, most := range map[string]float64{"4KiB": 4 << 10, "1MiB": 1 << 20} {
				g := dev(t, "--watch-log-bytes="+size)
				in := follow(t, g.api+"/v1/watch?key=k")
				for range 10 {
					put(t, g, "k", 1000)
					scanTo(in, `"type":"events"`)
				}
				held := metric(t, g, "etcdrest_stream_log_bytes")
				if all := held > 10_000; held > most || all != (size == "1MiB") {
					t.Errorf("--watch-log-bytes=%s: got %v bytes held of ten changes of 1,000, want all or fewer", size, held)
				}
			}
		},
		"max-catchup-revisions": func(t *testing.T) {
			g := dev(t, "--max-catchup-revisions=3")
			for range 6 {
				put(t, g, "k", 1)
			}
			if a := call(t, nil, http.MethodGet, g.api+"/v1/watch?key=k&start_revision=2", ""); a.status != http.StatusGone || !strings.Contains(a.body, "too_far_behind") {
				t.Errorf("a start too far back: got %d %s, want 410 too_far_behind", a.status, a.body)
			}
		},
		"max-streams": func(t *testing.T) {
			g := dev(t, "--max-streams=1")
			follow(t, g.api+"/v1/watch?key=k")
			a := call(t, nil, http.MethodGet, g.api+"/v1/watch?key=k", "")
			if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "--max-streams") {
				t.Errorf("a stream beyond the limit: got %d %s, want 503 that names --max-streams", a.status, a.body)
			}
		},
		"max-requests": func(t *testing.T) {
			g := dev(t, "--max-requests=1")
			waits := make(chan answer, 1)
			go func() {
				for a, err := try(t, nil, http.MethodGet, g.api+"/v1/kv/w?wait=30&after=0", ""); ; a, err = try(t, nil, http.MethodGet, g.api+"/v1/kv/w?wait=30&after=0", "") {
					if err != nil || a.status != http.StatusServiceUnavailable { // it was let in
						waits <- a
						return
					}
				}
			}()
			a := call(t, nil, http.MethodGet, g.api+"/v1/kv/k", "")
			for a.status == http.StatusNotFound {
				a = call(t, nil, http.MethodGet, g.api+"/v1/kv/k", "")
			}
			if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "--max-requests") {
				t.Errorf("a request beyond the limit: got %d %s, want 503 that names --max-requests", a.status, a.body)
			}
			if err := g.stop(); err != nil {
				t.Error(err)
			}
			<-waits
		},
		"max-bytes-in-flight": func(t *testing.T) {
			g := dev(t, "--max-bytes-in-flight=100")
			a := call(t, nil, http.MethodPut, g.api+"/v1/raw/k", strings.Repeat("x", 101))
			if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "--max-bytes-in-flight") {
				t.Errorf("a body beyond the limit: got %d %s, want 503 that names --max-bytes-in-flight", a.status, a.body)
			}
		},
		"max-calls": func(t *testing.T) {
			g := dev(t, "--max-calls=1")
			var refused atomic.Int64
			var writing sync.WaitGroup
			for i := range 50 {
				writing.Go(func() {
					a, err := try(t, nil, http.MethodPut, g.api+"/v1/kv/k"+strconv.Itoa(i), `{"value":""}`)
					switch {
					case err != nil:
						t.Error(err)
					case a.status == http.StatusServiceUnavailable && strings.Contains(a.body, "--max-calls") && strings.Contains(a.body, "not_applied"):
						refused.Add(1)
					case a.status != http.StatusCreated:
						t.Errorf("got %d %s, want 201 or 503", a.status, a.body)
					}
				})
			}
			writing.Wait()
			if n := refused.Load(); n == 0 || n == 50 {
				t.Errorf("of 50 writes at once %d were refused; want some", n)
			}
		},
		"log-format": func(t *testing.T) {
			g := dev(t, "--log-format=json")
			g.log.waitFor(t, `"msg":"serving"`)
		},
		"log-level": func(t *testing.T) {
			g := dev(t, "--log-level=debug")
			g.log.waitFor(t, "component=etcd")
			if quiet := dev(t, "--log-level=error"); strings.Contains(quiet.log.String(), "serving") {
				t.Errorf("at level error: got %q, want the URLs only", quiet.log)
			}
		},
		"data-dir": func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "elsewhere")
			dev(t, "--data-dir="+dir)
			if _, err := os.Stat(filepath.Join(dir, "etcd", "member")); err != nil {
				t.Error(err)
			}
		},
		"etcd-listen": func(t *testing.T) {
			g := dev(t, "--etcd-listen=127.0.0.2:0")
			wantPrefix(t, "etcd's URL", g.etcd, "http://127.0.0.2:")
		},
		"url": func(t *testing.T) {
			g := dev(t)
			out, err := output(t, "doctor", "--url="+g.api)
			if err != nil || strings.Count(out, "arrives intact") != 3 {
				t.Errorf("doctor --url: got %v and %s, want three keys intact", err, out)
			}
		},
		"json": func(t *testing.T) {
			g := dev(t)
			out, err := output(t, "doctor", "--json", "--endpoints="+g.etcd)
			var report struct{ Findings []finding }
			if err := json.Unmarshal([]byte(out), &report); err != nil || len(report.Findings) < 5 {
				t.Errorf("doctor --json: got %v and %s, want a document with findings", err, out)
			}
			if err != nil {
				t.Error(err)
			}
		},
	}
	maps.Copy(cases, tokenOptions())
	for _, o := range options() {
		flip, ok := cases[o.name]
		if !ok {
			t.Errorf("option %s: no case sees it act", o.name)
			continue
		}
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			flip(t)
		})
	}
}

// dev starts `gateway dev` with a folder of its own.
func dev(t *testing.T, args ...string) *running {
	t.Helper()
	args = append([]string{"dev"}, args...)
	if !strings.Contains(strings.Join(args, " "), "--data-dir") {
		args = append(args, "--data-dir="+t.TempDir())
	}
	return start(t, args...)
}

//nolint:thelper // a case of the test
func flipTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "server", 2)
	g := dev(t, "--tls-cert="+cert, "--tls-key="+key)
	wantPrefix(t, "the API's URL", g.api, "https://127.0.0.1:")
	if a := call(t, ca.client(nil), http.MethodGet, g.api+"/livez", ""); a.status != http.StatusOK || a.proto != "HTTP/2.0" {
		t.Errorf("over TLS: got %d by %s, want 200 by HTTP/2.0", a.status, a.proto)
	}
}

// client trusts the authority and shows the certificate, if any.
func (a *authority) client(pair *tls.Certificate) *http.Client {
	config := &tls.Config{RootCAs: a.pool}
	if pair != nil {
		config.Certificates = []tls.Certificate{*pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, DisableKeepAlives: true}}
}

//nolint:thelper // a case of the test
func flipEtcdTLS(t *testing.T) {
	ca := newAuthority(t)
	cert, key := ca.issue(t, "etcd", 2)
	etcd := embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.CertFile, o.KeyFile, o.ClientCAFile = cert, key, ca.file })
	g := start(t, "serve", "--endpoints="+etcd.Endpoint(), "--etcd-cacert="+ca.file, "--etcd-cert="+cert, "--etcd-key="+key)
	get200(t, g.api+"/readyz")

	without := start(t, "serve", "--endpoints="+etcd.Endpoint(), "--etcd-cacert="+ca.file, "--dial-timeout=1")
	if a := call(t, nil, http.MethodGet, without.api+"/readyz", ""); a.status != http.StatusServiceUnavailable {
		t.Errorf("without a client certificate: got %d, want 503", a.status)
	}
}

//nolint:thelper // a case of the test
func flipEtcdUser(t *testing.T) {
	etcd := embedetcd.StartForTest(t)
	enableAuth(t, etcd)
	file := passwordFile(t)
	g := start(t, "serve", "--endpoints="+etcd.Endpoint(), "--etcd-user=root", "--etcd-password-file="+file)
	if a := call(t, nil, http.MethodGet, g.api+"/v1/kv/absent", ""); a.status != http.StatusNotFound {
		t.Errorf("as root: got %d %s, want 404", a.status, a.body)
	}
	anonymous := start(t, "serve", "--endpoints="+etcd.Endpoint())
	if a := call(t, nil, http.MethodGet, anonymous.api+"/v1/kv/absent", ""); a.status < 400 || a.status == http.StatusNotFound {
		t.Errorf("as nobody: got %d %s, want a refusal", a.status, a.body)
	}
	for _, shown := range []string{get200(t, g.admin+"/debug/config"), g.log.String()} {
		if strings.Contains(shown, "pass word") {
			t.Errorf("the password is shown: %s", shown)
		}
	}
}

// enableAuth gives etcd the user root, whose password is in passwordFile.
func enableAuth(t *testing.T, etcd *embedetcd.Server) {
	t.Helper()
	c := directly(t, etcd)
	for _, step := range []func() error{
		func() error { _, err := c.UserAdd(t.Context(), "root", "pass word"); return err },
		func() error { _, err := c.UserGrantRole(t.Context(), "root", "root"); return err },
		func() error { _, err := c.AuthEnable(t.Context()); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
}

func passwordFile(t *testing.T) string {
	t.Helper()
	return write(t, filepath.Join(t.TempDir(), "password"), "pass word\n")
}

func directly(t *testing.T, etcd *embedetcd.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func putDirectly(t *testing.T, etcd *embedetcd.Server, key, value string) {
	t.Helper()
	if _, err := directly(t, etcd).Put(t.Context(), key, value); err != nil {
		t.Fatal(err)
	}
}

// silentServer takes connections and never says a word.
func silentServer(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return "http://" + l.Addr().String() // the kernel accepts for it
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func wantQuick(t *testing.T, g *running, want int) {
	t.Helper()
	began := time.Now()
	a := call(t, nil, http.MethodGet, g.api+"/v1/kv/k", "")
	if d := time.Since(began); a.status != want || d < 500*time.Millisecond || d > 4500*time.Millisecond { // the client's own default is 5 s
		t.Errorf("got %d %s after %v, want %d after about a second", a.status, a.body, d, want)
	}
}

// waitInFlight waits until a request has reached the API.
func waitInFlight(t *testing.T, g *running) {
	t.Helper()
	for !strings.Contains(get200(t, g.admin+"/metrics"), "\netcdrest_http_requests_in_flight 1\n") {
		if t.Context().Err() != nil {
			t.Fatal("no request came")
		}
	}
}

// output runs a command that ends by itself.
func output(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	err := run(t.Context(), args, nil, &out, newBuffer())
	return out.String(), err
}

func wantUsage(t *testing.T, args []string, want string) {
	t.Helper()
	_, err := output(t, args...)
	if exitCode(err) != exitUsage || !strings.Contains(err.Error(), want) {
		t.Errorf("gateway %s: got %v, want a usage error with %q", strings.Join(args, " "), err, want)
	}
}

func wantContains(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.Contains(got, want) {
		t.Errorf("%s: got %q, want it to contain %q", what, got, want)
	}
}

func wantPrefix(t *testing.T, what, got, want string) {
	t.Helper()
	if !strings.HasPrefix(got, want) {
		t.Errorf("%s: got %q, want it to begin with %q", what, got, want)
	}
}
