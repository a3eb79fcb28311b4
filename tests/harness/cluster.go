package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/loopback"
)

// Cluster is etcd members that run as processes of their own, with etcd's default intervals.
type Cluster struct{ Members []*Member }

// Member is one of them. Its addresses and its data outlive its process: it can be killed and started again. Its methods
// are for one goroutine at a time.
type Member struct {
	*Process // the running one, or the last that ran

	// ID is the member's id, and Endpoint its client URL.
	ID       uint64
	Endpoint string

	name, peer string
	path, dir  string
	args       []string
}

// StartCluster runs a cluster of n members for the length of a test; args are those of every member.
func StartCluster(t testing.TB, n int, args ...string) *Cluster {
	t.Helper()
	return startCluster(t, built, n, args)
}

func startCluster(t testing.TB, p Programs, n int, args []string) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	for try := 1; ; try++ {
		c, err := p.startCluster(ctx, t, n, args)
		if err == nil {
			return c
		}
		if try == 3 || !strings.Contains(err.Error(), "address already in use") {
			t.Fatal(err)
		}
	}
}

func (p Programs) startCluster(ctx context.Context, t testing.TB, n int, args []string) (*Cluster, error) {
	t.Helper()
	c := &Cluster{}
	var initial []string
	for i := range n {
		m, err := p.newMember(ctx, fmt.Sprintf("m%d", i+1), filepath.Join(t.TempDir(), "etcd"))
		if err != nil {
			return nil, err
		}
		c.Members = append(c.Members, m)
		initial = append(initial, m.name+"="+m.peer)
	}
	for _, m := range c.Members { // all of them first: a member serves only once it has a quorum
		m.args = append([]string{"--initial-cluster", strings.Join(initial, ",")}, args...)
		if err := m.launch(ctx); err != nil {
			return nil, err
		}
		m.stopAtEnd(t)
	}
	for _, m := range c.Members {
		if err := m.waitReady(ctx); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// AddLearner adds a member that does not vote, by the given name, and runs it for the length of a test.
func (c *Cluster) AddLearner(t testing.TB, name string) *Member {
	t.Helper()
	return c.AddMember(t, name, func(ctx context.Context, peer string) error {
		return c.Members[0].post(ctx, "/v3/cluster/member/add", map[string]any{"peerURLs": []string{peer}, "isLearner": true}, nil)
	})
}

// AddMember runs one more member for the length of a test, once add has told the cluster of its peer URL.
func (c *Cluster) AddMember(t testing.TB, name string, add func(ctx context.Context, peer string) error) *Member {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyWithin)
	defer cancel()
	m, err := built.newMember(ctx, name, filepath.Join(t.TempDir(), "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	initial := []string{m.name + "=" + m.peer}
	for _, other := range c.Members {
		initial = append(initial, other.name+"="+other.peer)
	}
	if err := add(ctx, m.peer); err != nil {
		t.Fatal(err)
	}
	m.args = []string{"--initial-cluster", strings.Join(initial, ","), "--initial-cluster-state", "existing"}
	if err := m.launch(ctx); err != nil {
		t.Fatal(err)
	}
	m.stopAtEnd(t)
	if err := m.waitReady(ctx); err != nil {
		t.Fatal(err)
	}
	return m
}

// Endpoints are the members' client URLs, as --endpoints takes them.
func (c *Cluster) Endpoints() string {
	all := make([]string, 0, len(c.Members))
	for _, m := range c.Members {
		all = append(all, m.Endpoint)
	}
	return strings.Join(all, ",")
}

// Leader waits until the members that answer agree on a leader among themselves, and gives it.
func (c *Cluster) Leader(ctx context.Context) (*Member, error) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		if m := c.leader(ctx); m != nil {
			return m, nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the cluster has no leader: %w", ctx.Err())
		}
	}
}

func (c *Cluster) leader(ctx context.Context) *Member {
	var leader uint64
	answered := map[uint64]*Member{}
	for _, m := range c.Members {
		s, err := m.Status(ctx)
		if err != nil {
			continue
		}
		answered[m.ID] = m
		if s.Leader == 0 || leader != 0 && s.Leader != leader {
			return nil
		}
		leader = s.Leader
	}
	if 2*len(answered) <= len(c.Members) {
		return nil
	}
	return answered[leader]
}

// Status is what a member says of itself.
type Status struct{ ID, Leader uint64 }

// statusWithin is how long a member may take to tell its status; one that is stopped by a signal never does.
const statusWithin = time.Second

// Status asks the member.
func (m *Member) Status(ctx context.Context) (Status, error) {
	ctx, cancel := context.WithTimeout(ctx, statusWithin)
	defer cancel()
	var answer struct {
		Header struct {
			ID string `json:"member_id"`
		}
		Leader string
	}
	if err := m.post(ctx, "/v3/maintenance/status", struct{}{}, &answer); err != nil {
		return Status{}, err
	}
	id, err := strconv.ParseUint(answer.Header.ID, 10, 64)
	if err != nil {
		return Status{}, fmt.Errorf("status of %s: %w", m.name, err)
	}
	leader, _ := strconv.ParseUint(answer.Leader, 10, 64) // left out when there is none
	return Status{ID: id, Leader: leader}, nil
}

// post calls etcd's JSON gateway.
func (m *Member) post(ctx context.Context, path string, request, answer any) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Endpoint+path, strings.NewReader(string(body)))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	reply, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer reply.Body.Close()
	if reply.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", path, reply.Status)
	}
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(reply.Body).Decode(answer); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Kill ends the process as a crash would (SIGKILL), and waits for its end.
func (m *Member) Kill(ctx context.Context) error {
	m.Signal(syscall.SIGKILL)
	_, err := m.Wait(ctx)
	return err
}

// Freeze stops the process where it is (SIGSTOP), and returns once it stands still: its connections stay open and nothing
// is answered. Thaw lets it go on. Linux only.
func (m *Member) Freeze(ctx context.Context) error {
	m.Signal(syscall.SIGSTOP)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !m.standsStill() {
		select {
		case <-again.C:
		case <-ctx.Done():
			return fmt.Errorf("%s does not stand still: %w", m, ctx.Err())
		}
	}
	return nil
}

// standsStill reads the states of the process's threads: T is stopped.
func (m *Member) standsStill() bool {
	threads, err := filepath.Glob(filepath.Join("/proc", strconv.Itoa(m.PID()), "task", "*", "stat"))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, name := range threads {
		stat, err := os.ReadFile(name)
		if err != nil {
			return false
		}
		state := strings.TrimSpace(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if !strings.HasPrefix(state, "T") {
			return false
		}
	}
	return true
}

// Thaw ends Freeze; on a member that runs it does nothing.
func (m *Member) Thaw() { m.Signal(syscall.SIGCONT) }

// Restart starts the member again on its data and its addresses, and returns once it serves.
func (m *Member) Restart(ctx context.Context) error {
	if err := m.launch(ctx); err != nil {
		return err
	}
	return m.waitReady(ctx)
}

func (p Programs) newMember(ctx context.Context, name, dir string) (*Member, error) {
	client, err := loopback.LastingAddress(ctx)
	if err != nil {
		return nil, err
	}
	peer, err := loopback.LastingAddress(ctx)
	if err != nil {
		return nil, err
	}
	return &Member{Endpoint: "http://" + client, name: name, peer: "http://" + peer, path: p.Etcd, dir: dir}, nil
}

func (m *Member) launch(ctx context.Context) error {
	process, err := Start(ctx, m.path, append([]string{
		"--name", m.name, "--data-dir", m.dir,
		"--listen-client-urls", m.Endpoint, "--advertise-client-urls", m.Endpoint,
		"--listen-peer-urls", m.peer, "--initial-advertise-peer-urls", m.peer,
	}, m.args...), nil)
	if err != nil {
		return err
	}
	m.Process = process
	return nil
}

func (m *Member) waitReady(ctx context.Context) error {
	_, err := m.WaitFor(ctx, "that it serves", func(line string) bool { return strings.Contains(line, "serving client traffic") })
	if err != nil || m.ID != 0 {
		return err
	}
	s, err := m.Status(ctx)
	m.ID = s.ID
	return err
}

// stopAtEnd ends whatever process the member has then; one that was frozen hears it too.
func (m *Member) stopAtEnd(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		m.Thaw()
		m.Signal(os.Kill) // its data goes with the test, so there is nothing to save
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
}
