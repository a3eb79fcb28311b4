package versions_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/contract"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// patience is beyond any deadline that the gateway has; a call that takes longer hangs.
const patience = 45 * time.Second

// site is an etcd of one version with a gateway before it, and what its callers were answered so far.
type site struct {
	t       *testing.T
	version harness.Version
	etcd    *harness.Etcd
	url     string
	client  *http.Client // holds every answer against the contract
	plain   *http.Client // for /v3, which is etcd's own

	told *transcript
}

// start runs both for the length of the test.
func start(t *testing.T, v harness.Version) *site {
	t.Helper()
	s := &site{t: t, version: v, etcd: v.StartEtcd(t), told: &transcript{answers: map[string]string{}}}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	s.client = &http.Client{Transport: contract.New(t).Transport(transport), Timeout: patience}
	s.plain = &http.Client{Transport: transport, Timeout: patience}
	s.gateway()
	return s
}

// gateway starts the one that is asked from now on.
func (s *site) gateway(args ...string) {
	s.t.Helper()
	s.url = harness.StartGateway(s.t, append([]string{"serve", "--endpoints", s.etcd.Endpoint}, args...)...).API
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// call makes one request and notes the answer under what it shows. Headers are "Name: value".
func (s *site) call(shows, method, path, body string, headers ...string) *answer {
	s.t.Helper()
	a := s.quietly(method, path, body, headers...)
	s.told.note(s.t, shows, a.String())
	return a
}

// quietly makes a request whose answer is not compared.
func (s *site) quietly(method, path, body string, headers ...string) *answer {
	s.t.Helper()
	a, err := s.send(method, path, body, headers...)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

// get is one call of several that are made together.
type get struct{ shows, path string }

// together reads at the same time what takes its time.
func (s *site) together(gets ...get) {
	s.t.Helper()
	answers, errs := make([]*answer, len(gets)), make([]error, len(gets))
	var all sync.WaitGroup
	for i, g := range gets {
		all.Go(func() { answers[i], errs[i] = s.send(http.MethodGet, g.path, "") })
	}
	all.Wait()
	for i, g := range gets {
		if errs[i] != nil {
			s.t.Fatal(errs[i])
		}
		s.told.note(s.t, g.shows, answers[i].String())
	}
}

func (s *site) send(method, path, body string, headers ...string) (*answer, error) {
	r, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == "" {
		r.Body = http.NoBody
	} else {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		r.Header.Set(name, value)
	}
	client := s.client
	if strings.HasPrefix(path, "/v3") {
		client = s.plain
	}
	reply, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer reply.Body.Close()
	a := &answer{status: reply.StatusCode, header: reply.Header}
	if a.body, err = io.ReadAll(reply.Body); err != nil {
		return nil, fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	return a, nil
}

// ok fails the test unless the answer is a good one.
func (a *answer) ok(t *testing.T) *answer {
	t.Helper()
	if a.status/100 != 2 {
		t.Fatalf("got %d %s", a.status, a.body)
	}
	return a
}

// text gives a member of the answer's document, for the next request.
func (a *answer) text(t *testing.T, name string) string {
	t.Helper()
	var doc map[string]json.RawMessage
	if err := json.Unmarshal(a.body, &doc); err != nil || doc[name] == nil {
		t.Fatalf("the answer has no %s: %d %s", name, a.status, a.body)
	}
	return url.QueryEscape(strings.Trim(string(doc[name]), `"`))
}

// String is the answer without what differs from one cluster to the next.
func (a *answer) String() string {
	kind, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	head := fmt.Sprintf("%d %s", a.status, kind)
	for _, name := range []string{"Etag", "Etcd-Revision", "Etcd-Key", "Etcd-Version", "Idempotency-Replayed"} {
		if value := a.header.Get(name); value != "" {
			head += fmt.Sprintf(" %s=%s", name, value)
		}
	}
	return head + "\n" + leveled(kind, string(a.body))
}
