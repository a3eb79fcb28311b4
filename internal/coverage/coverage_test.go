package coverage_test

import (
	"flag"
	"fmt"
	"go/ast"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/version"
	election "go.etcd.io/etcd/server/v3/etcdserver/api/v3election/v3electionpb"
	lock "go.etcd.io/etcd/server/v3/etcdserver/api/v3lock/v3lockpb"
	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

var update = flag.Bool("update", false, "write docs/reference/coverage.md")

// method is an RPC as etcd's descriptors have it.
type method struct {
	name string // service/method
	// paths are those of its HTTP annotation, in order; a gateway takes POST at each.
	paths []string
}

// described lists the RPCs of etcd's services, from the descriptors of the modules in go.mod.
func described(t *testing.T) (out []method) {
	t.Helper()
	for _, file := range []protoreflect.FileDescriptor{pb.File_rpc_proto, lock.File_v3lock_proto, election.File_v3election_proto} {
		for i := range file.Services().Len() {
			service := file.Services().Get(i)
			for j := range service.Methods().Len() {
				m := service.Methods().Get(j)
				rule, ok := proto.GetExtension(m.Options(), annotations.E_Http).(*annotations.HttpRule)
				if !ok {
					t.Fatalf("%s: the annotation cannot be read", m.FullName())
				}
				d := method{name: string(service.Name()) + "/" + string(m.Name())}
				for _, r := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
					if r.GetPost() != "" {
						d.paths = append(d.paths, r.GetPost())
					}
				}
				out = append(out, d)
			}
		}
	}
	return out
}

// seen is what calling an RPC showed.
type seen struct {
	method
	rpc

	// route is the native route that was taken, with the parameters that were used; asked are the RPCs that etcd was asked.
	route, parameters string
	asked             []string
}

// TestGeneratedCoverage calls every RPC of etcd natively and through /v3, sees what etcd is asked, and makes the page of it.
func TestGeneratedCoverage(t *testing.T) { //nolint:paralleltest // it turns authentication on and off
	s := newStage(t)
	rows, table := rpcs(), make(map[string]bool)
	for _, r := range s.nobody.api.Routes() {
		table[r.Method+" "+r.Pattern] = true
	}
	source := &sources{t: t, folders: make(map[string]map[string]*ast.FuncDecl)}
	var page []seen
	methods := described(t)
	for i, m := range methods {
		if i >= len(rows) || rows[i].name != m.name {
			t.Fatalf("row %d: want the RPC %s of etcd; each has a row, in the order of the descriptors", i, m.name)
		}
		v := s.show(m, rows[i])
		if !table[v.route] {
			t.Errorf("%s: the route %q is not in the routing table", m.name, v.route)
		}
		source.check(&v)
		page = append(page, v)
	}
	if len(rows) != len(methods) {
		t.Errorf("%d rows, and etcd has %d RPCs", len(rows), len(methods))
	}
	if !t.Failed() {
		golden(t, "../../docs/reference/coverage.md", render(page))
	}
}

// show makes both calls of an RPC.
func (s *stage) show(m method, r rpc) seen {
	t, g := s.t, s.nobody
	if r.root {
		g = s.root
	}
	prepare := r.before
	if prepare == nil {
		prepare = func(*stage) {}
	}
	prepare(s)
	q := r.native(s)
	q.lines = r.lines
	direct := func(rpcs []string) bool { return slices.Contains(rpcs, r.name) }
	enough := direct
	if r.instead != "" {
		enough = func(rpcs []string) bool { return len(rpcs) > 0 }
	}
	status, taken, asked := g.called(q, enough)
	if want := orOK(r.status); status != want {
		t.Errorf("%s by %s %s: %d, want %d", r.name, q.method, q.path, status, want)
	}
	if len(taken) != 1 {
		t.Fatalf("%s by %s %s: the routes taken are %v, want one", r.name, q.method, q.path, taken)
	}
	if direct(asked) == (r.instead != "") {
		t.Errorf("%s by %s: etcd was asked %v; instead is %q", r.name, taken[0], asked, r.instead)
	}
	if r.v3 != nil {
		s.showV3(g, m, r, prepare)
	} else if len(m.paths) > 0 {
		t.Errorf("%s: nothing calls %s", r.name, m.paths[0])
	}
	return seen{method: m, rpc: r, route: taken[0], parameters: parameters(q.path), asked: asked}
}

// showV3 makes the calls of /v3: each of the paths asks etcd that RPC, and no other.
func (s *stage) showV3(g *gateway, m method, r rpc, prepare func(*stage)) {
	if len(m.paths) == 0 {
		s.t.Errorf("%s: etcd's gateway has no path for it", r.name)
	}
	for _, path := range m.paths {
		prepare(s)
		q := request{method: http.MethodPost, path: path, body: r.v3(s), lines: r.lines}
		status, _, asked := g.called(q, func(rpcs []string) bool { return slices.Contains(rpcs, r.name) })
		if want := orOK(r.v3Status); status != want {
			s.t.Errorf("%s by POST %s: %d, want %d", r.name, path, status, want)
		}
		if !slices.Equal(asked, []string{r.name}) {
			s.t.Errorf("%s by POST %s: etcd was asked %v, want just that", r.name, path, asked)
		}
	}
}

// parameters names those of a path, without their values.
func parameters(path string) string {
	_, query, found := strings.Cut(path, "?")
	if !found {
		return ""
	}
	name, _, _ := strings.Cut(query, "=")
	return "?" + name + "="
}

func orOK(status int) int {
	if status == 0 {
		return http.StatusOK
	}
	return status
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what the gateway does; run `go test ./internal/coverage -update` (-file +made):\n%s", file, diff)
	}
}

func render(page []seen) string {
	var b strings.Builder
	native, v3 := 0, 0
	for _, v := range page {
		if v.instead == "" {
			native++
		}
		if len(v.paths) > 0 {
			v3++
		}
	}
	fmt.Fprintf(&b, `# Coverage of etcd's RPCs

<!-- Made by "go generate ./internal/coverage", which makes every one of these calls against a real etcd. -->

etcd %s has %d RPCs in eight services: KV, Watch, Lease, Cluster, Maintenance and Auth (package `+"`etcdserverpb`"+`), Lock (`+"`v3lockpb`"+`) and
Election (`+"`v3electionpb`"+`). Every one has a native route, and %d have a path of `+"`/v3`"+`: all for which etcd's own JSON gateway has one. The three of
gRPC's health service (`+"`grpc.health.v1`"+`) are not etcd's own; the gateway's client asks them once a second.

The table is observed, not declared. A test makes each call against a real etcd and counts what etcd is asked. A call of `+"`/v3`"+` asks the RPC of its
line and no other; its paths are read from the `+"`google.api.http`"+` annotations of the descriptors. Of the native routes %d ask that very RPC, among the
others that are listed; the rest do the same in another way, which is said. The last columns name tests that show what the calls do: that those exist
and make the call is checked as well.
`, version.Version, len(page), v3, native)
	service := ""
	var notes []string
	for _, v := range page {
		of, name, _ := strings.Cut(v.method.name, "/")
		if of != service {
			service = of
			fmt.Fprintf(&b, "\n## %s\n\n| RPC | native | etcd is asked | `/v3` (POST) | native, shown by | `/v3`, shown by |\n|---|---|---|---|---|---|\n", of)
		}
		asked := strings.Join(v.asked, ", ")
		if v.instead != "" {
			if !slices.Contains(notes, v.instead) {
				notes = append(notes, v.instead)
			}
			asked += fmt.Sprintf(" [%d]", slices.Index(notes, v.instead)+1)
		}
		fmt.Fprintf(&b, "| %s | `%s` | %s | %s | %s | %s |\n", name, v.route+v.parameters, asked, codes(v.paths), codes(strings.Fields(v.tested)), codes(strings.Fields(v.v3Tested)))
	}
	for i, note := range notes {
		fmt.Fprintf(&b, "\n[%d] %s.\n", i+1, note)
	}
	return b.String()
}

func codes(words []string) string {
	if len(words) == 0 {
		return "–"
	}
	return "`" + strings.Join(words, "`, `") + "`"
}

// check finds the tests that a row names in their sources, and the calls in them.
func (s *sources) check(v *seen) {
	s.t.Helper()
	if test := s.find(v.tested); test == nil || !callsRoute(test, v.route) {
		s.t.Errorf("%s: the test %q does not exist, or does not call %s", v.rpc.name, v.tested, v.route)
	}
	if len(v.paths) == 0 {
		return
	}
	if test := s.find(v.v3Tested); test == nil || !callsPath(test, v.paths[0]) {
		s.t.Errorf("%s: the test %q does not exist, or does not call %s", v.rpc.name, v.v3Tested, v.paths[0])
	}
}
