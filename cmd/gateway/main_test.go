package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/etcdrest/etcdrest/internal/leak"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){"gateway": main, "http": httpCommand})
}

// leakChecked runs the tests and then looks for goroutines that nobody waited for.
type leakChecked struct{ m *testing.M }

func (l leakChecked) Run() int {
	code := l.m.Run()
	if code != 0 {
		return code
	}
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	if err := leak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// httpCommand is a small curl for scripts: http METHOD URL [BODY] prints the status, a few headers and the body.
func httpCommand() {
	method, url, body := os.Args[1], os.Args[2], ""
	if len(os.Args) > 3 {
		body = os.Args[3]
	}
	err := printAnswer(context.Background(), method, url, body) //nolint:forbidigo // a program of its own
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1) //nolint:forbidigo // a program of its own
	}
}

func printAnswer(ctx context.Context, method, url, body string) error {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body)) //nolint:gosec // the script names it
	if err != nil {
		return err
	}
	answer, err := http.DefaultClient.Do(r) //nolint:gosec // the script names it
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Fprintln(os.Stdout, answer.Status)
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

// running is a whole gateway inside the test.
type running struct {
	api, admin, etcd string
	log              *buffer
	stop             func() error // once; the test's end calls it too
}

// start runs the program with the arguments until it says where it is. Listeners take free ports unless told otherwise.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	return startWith(t, nil, args...)
}

func startWith(t *testing.T, environ []string, args ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	g := &running{log: newBuffer()}
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, withPorts(args), environ, io.Discard, g.log)
	}()
	g.stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { _ = g.stop() })
	for {
		changed := g.log.changed()
		if g.api = urlOf(g.log.String(), "API"); g.api != "" {
			break
		}
		select {
		case <-changed:
		case err := <-ended:
			t.Fatalf("gateway %s ended with %v before it served:\n%s", strings.Join(args, " "), err, g.log)
		case <-time.After(20 * time.Second):
			t.Fatalf("gateway %s does not serve:\n%s", strings.Join(args, " "), g.log)
		}
	}
	g.admin, g.etcd = urlOf(g.log.String(), "admin"), urlOf(g.log.String(), "etcd")
	return g
}

// withPorts adds free ports for the listeners that the arguments leave at their defaults.
func withPorts(args []string) []string {
	all := strings.Join(args, " ")
	for _, name := range []string{"--listen", "--admin-listen"} {
		if !strings.Contains(" "+all, " "+name+"=") && !strings.Contains(all, "--config") {
			args = append(args, name+"=127.0.0.1:0")
		}
	}
	return args
}

func urlOf(log, name string) string {
	found := regexp.MustCompile(`(?m)^` + name + ` +(\S+)$`).FindStringSubmatch(log)
	if found == nil {
		return ""
	}
	return found[1]
}

// buffer is a log that many write and one waits for.
type buffer struct {
	mu     sync.Mutex
	b      bytes.Buffer
	notify chan struct{} // closed by the next write
}

func newBuffer() *buffer { return &buffer{notify: make(chan struct{})} }

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.notify)
	b.notify = make(chan struct{})
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notify
}

// waitFor waits until the log holds the text.
func (b *buffer) waitFor(t *testing.T, text string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		changed := b.changed()
		if strings.Contains(b.String(), text) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("the log never says %q:\n%s", text, b)
		}
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
	proto  string
}

func call(t *testing.T, client *http.Client, method, url, body string, headers ...string) answer {
	t.Helper()
	a, err := try(t, client, method, url, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

// try sends one request; headers are names and values in turn.
func try(t *testing.T, client *http.Client, method, url, body string, headers ...string) (answer, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	if client == nil {
		client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	resp, err := client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	content, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, string(content), resp.Proto}, err
}

func get200(t *testing.T, url string) string {
	t.Helper()
	a := call(t, nil, http.MethodGet, url, "")
	if a.status != http.StatusOK {
		t.Fatalf("GET %s: got %d %s, want 200", url, a.status, a.body)
	}
	return a.body
}
