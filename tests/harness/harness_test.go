package harness_test

import (
	"context"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

func TestGatewayServesBeforeEtcd(t *testing.T) {
	t.Parallel()
	etcd := harness.StartEtcd(t)
	gateway := harness.StartGateway(t, "serve", "--endpoints", etcd.Endpoint)
	for _, url := range []string{gateway.API + "/health", gateway.Admin + "/metrics", etcd.Endpoint + "/health"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := answer.Body.Close(); err != nil || answer.StatusCode != http.StatusOK {
			t.Errorf("GET %s: got %s, %v", url, answer.Status, err)
		}
	}
	for _, p := range []*harness.Process{etcd.Process, gateway.Process} {
		u, err := p.Usage()
		if err != nil || u.CPU <= 0 || u.RSS < 1<<20 {
			t.Errorf("%s: got the usage %+v, %v", p, u, err)
		}
	}
}

func TestProcessStopsInGoodOrder(t *testing.T) {
	t.Parallel()
	p := start(t, "trap 'echo stopping; exit 3' TERM; echo started; while :; do sleep 0.01; done")
	if _, err := p.WaitFor(t.Context(), "started", func(line string) bool { return line == "started" }); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	}
	if code, err := p.Wait(t.Context()); code != 3 || err != nil {
		t.Errorf("got the exit code %d, %v, want 3", code, err)
	}
	if got := p.Output(); got != "started\nstopping" {
		t.Errorf("got the output %q", got)
	}
	if err := syscall.Kill(p.PID(), 0); err == nil {
		t.Error("the process is still there")
	}
}

func TestProcessThatEndsBeforeItIsReadyTellsWhy(t *testing.T) {
	t.Parallel()
	p := start(t, "echo no such endpoint >&2; exit 1")
	_, err := p.WaitFor(t.Context(), "that it serves", func(string) bool { return false })
	if err == nil || !strings.Contains(err.Error(), "no such endpoint") {
		t.Errorf("got the error %v, want one that shows the output", err)
	}
}

func TestWaitingForALineEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p := start(t, "exec sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := p.WaitFor(ctx, "a line", func(string) bool { return true }); err == nil {
		t.Error("got a line from a silent process")
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	t.Parallel()
	u, err := harness.UsageOf(os.Getpid())
	if err != nil || u.RSS < 1<<20 {
		t.Errorf("got %+v, %v, want some memory", u, err)
	}
}

func start(t *testing.T, script string) *harness.Process {
	t.Helper()
	p, err := harness.Start(t.Context(), "bash", []string{"-c", script}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Stop() })
	return p
}
