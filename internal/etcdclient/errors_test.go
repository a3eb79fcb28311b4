package etcdclient_test

import (
	"context"
	"errors"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// rpcError is an error of package rpctypes, read from its source: the package has no list of them.
type rpcError struct {
	name string // without ErrGRPC
	code codes.Code
	text string
}

func rpcErrors(t *testing.T) []rpcError {
	t.Helper()
	pkg, err := build.Import("go.etcd.io/etcd/api/v3/v3rpc/rpctypes", ".", build.FindOnly)
	if err != nil {
		t.Fatalf("find rpctypes: %v", err)
	}
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(pkg.Dir, "error.go"), nil, 0)
	if err != nil {
		t.Fatalf("parse rpctypes: %v", err)
	}
	byName := map[string]codes.Code{}
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		byName[c.String()] = c
	}
	var found []rpcError
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Values) != 1 {
			return true
		}
		call, ok := spec.Values[0].(*ast.CallExpr)
		if !ok || len(call.Args) != 2 {
			return true
		}
		literal, ok := call.Args[1].(*ast.BasicLit)
		if !ok {
			return true
		}
		text, err := strconv.Unquote(literal.Value)
		code, isCode := call.Args[0].(*ast.SelectorExpr)
		if err != nil || !isCode {
			t.Fatalf("%s: not of the known form", spec.Names[0].Name)
		}
		found = append(found, rpcError{
			name: strings.TrimPrefix(spec.Names[0].Name, "ErrGRPC"), code: byName[code.Sel.Name], text: text,
		})
		return true
	})
	return found
}

// failing gives a client of a server that answers every put and range with the status that script names.
func failing(t *testing.T) (*etcdclient.Client, *scripted, func(error)) {
	t.Helper()
	var script error
	s := serve(t, &scripted{
		onPut:   func(context.Context) error { return script },
		onRange: func(context.Context) error { return script },
	})
	c := ready(t, []string{s.endpoint}, func(c *etcdclient.Config) { c.RetryBudget = 1 })
	return c, s, func(err error) { script = err }
}

func putError(t *testing.T, c *etcdclient.Client) *etcdclient.Error {
	t.Helper()
	_, err := c.Put(within(t, 10*time.Second), &wire.PutRequest{Key: []byte("k"), Value: []byte("v")})
	e, ok := errors.AsType[*etcdclient.Error](err)
	if !ok {
		t.Fatalf("got %T %v; want *etcdclient.Error", err, err)
	}
	return e
}

func TestEveryErrorOfRpctypesIsKnownByName(t *testing.T) {
	t.Parallel()
	all := rpcErrors(t)
	if len(all) != 63 {
		t.Fatalf("rpctypes has %d errors; want 63 (the table must follow etcd)", len(all))
	}
	c, _, answer := failing(t)
	for _, want := range all {
		for _, wireCode := range []codes.Code{want.code, codes.Unknown} {
			answer(status.Error(wireCode, want.text))
			e := putError(t, c)
			name := want.name
			if name == "Canceled" || name == "DeadlineExceeded" {
				name = "Server" + name // told apart from the caller's own
			}
			if e.Name != name || e.Code != want.code || e.Message != want.text || !e.Answered {
				t.Errorf("%s sent as %v: got name %s, code %v, %q, answered %v; want name %s, code %v and the text",
					want.name, wireCode, e.Name, e.Code, e.Message, e.Answered, name, want.code)
			}
			if got := status.Code(e); got != wireCode {
				t.Errorf("%s sent as %v: GRPCStatus has the code %v; want the one that travelled", want.name, wireCode, got)
			}
			if err := status.Error(want.code, want.text); !errors.Is(e, err) || !errors.Is(e, rpctypes.Error(err)) {
				t.Errorf("%s: errors.Is does not find the error of rpctypes in %v", want.name, e)
			}
			if errors.Is(e, context.Canceled) || errors.Is(e, context.DeadlineExceeded) {
				t.Errorf("%s: a server's error passes for the caller's context error", want.name)
			}
			p := e.Problem()
			if p.GRPCMessage != want.text || p.GRPCCode != uint32(wireCode) || p.Detail == "" || p.Detail == want.text {
				t.Errorf("%s: problem %+v; want etcd's words in GRPCMessage and our own in Detail", want.name, p)
			}
		}
	}
	if errors.Is(putError(t, c), rpctypes.ErrCompacted) {
		t.Error("errors.Is finds an error that it is not")
	}
}

// TestOutcomeRule holds the client to the rule: not_applied exactly where etcd certainly refused before doing anything.
func TestOutcomeRuleNotAppliedOnlyForRefusalsElseUnknown(t *testing.T) {
	t.Parallel()
	unknown := map[string]bool{
		"NoSpace": true, "WatchCanceled": true, "NotLeader": true, "LeaderChanged": true, "Stopped": true, "Timeout": true,
		"TimeoutDueToLeaderFail": true, "TimeoutDueToConnectionLost": true, "TimeoutWaitAppliedIndex": true,
		"Corrupt": true, "Canceled": true, "DeadlineExceeded": true,
	}
	c, s, answer := failing(t)
	for _, each := range rpcErrors(t) {
		answer(status.Error(each.code, each.text))
		before := s.puts.Load()
		e := putError(t, c)
		want := problem.NotApplied
		if unknown[each.name] {
			want = problem.Unknown
			if n := s.puts.Load() - before; n != 1 {
				t.Errorf("%s: the server saw the put %d times; an unknown outcome is never repeated", each.name, n)
			}
		}
		if e.Outcome != want || e.Problem().Outcome != want {
			t.Errorf("%s: outcome %q, in the problem %q; want %q", each.name, e.Outcome, e.Problem().Outcome, want)
		}
	}
	for _, each := range []struct {
		code codes.Code
		text string
		want problem.Outcome
	}{
		{codes.Unimplemented, "unknown method Put for service etcdserverpb.KV", problem.NotApplied},
		{codes.InvalidArgument, "something new", problem.NotApplied},
		{codes.Canceled, "context canceled", problem.Unknown},
		{codes.DeadlineExceeded, "context deadline exceeded", problem.Unknown},
		{codes.Unavailable, "upstream connect error", problem.Unknown},
		{codes.Internal, "stream terminated by RST_STREAM", problem.Unknown},
		{codes.Unknown, "raft: something new", problem.Unknown},
		{codes.DataLoss, "corrupt", problem.Unknown},
		{codes.ResourceExhausted, "something new", problem.Unknown},
		{codes.Aborted, "something new", problem.Unknown},
	} {
		answer(status.Error(each.code, each.text))
		if e := putError(t, c); e.Outcome != each.want {
			t.Errorf("%v %q: outcome %q; want %q", each.code, each.text, e.Outcome, each.want)
		}
	}
}

func TestMessageLargerThanMaxIsNotAppliedOnlyWhenOurRequestExceedsTheNumber(t *testing.T) {
	t.Parallel()
	c, _, answer := failing(t)
	for _, each := range []struct {
		limit string
		want  problem.Outcome
		code  problem.Code
	}{
		{"(99 vs. 4)", problem.NotApplied, problem.RequestTooLarge},
		{"(3145738 vs. 2097152)", problem.Unknown, problem.ResultTooLarge},
	} {
		answer(status.Error(codes.ResourceExhausted, "grpc: received message larger than max "+each.limit))
		e := putError(t, c)
		if p := e.Problem(); e.Outcome != each.want || p.Code != each.code {
			t.Errorf("%s: got %q, %s; want %q, %s", each.limit, e.Outcome, p.Code, each.want, each.code)
		}
	}
}

func TestAnswerLargerThanOurLimitLeavesTheWriteUnknown(t *testing.T) {
	t.Parallel()
	_, s := embedded(t)
	c := ready(t, []string{s.Endpoint()}, func(c *etcdclient.Config) { c.MaxReceiveBytes = 4096 })
	put(t, c, "k", strings.Repeat("x", 8000))
	_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k"), Value: []byte("new"), PrevKV: true})
	e, ok := errors.AsType[*etcdclient.Error](err)
	if !ok || e.Outcome != problem.Unknown || e.Problem().Code != problem.ResultTooLarge || e.Limit != 4096 {
		t.Fatalf("got %+v; want result_too_large with the limit 4096 and the outcome unknown", err)
	}
	r, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")})
	if err != nil {
		t.Fatal(err)
	}
	if kv, _ := r.KVs.First(); string(kv.Value) != "new" {
		t.Errorf("the value is %q; this write was applied, which is why its outcome is unknown", kv.Value)
	}
}

func TestRequestLargerThanOurLimitIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	s := serve(t, &scripted{})
	c := ready(t, []string{s.endpoint})
	_, err := c.Put(within(t, 5*time.Second), &wire.PutRequest{Key: []byte("k"), Value: make([]byte, 2<<20)})
	e, ok := errors.AsType[*etcdclient.Error](err)
	if !ok || e.Name != etcdclient.NameRequestTooLarge || e.Outcome != problem.NotApplied || e.Limit != 2<<20 || e.Answered {
		t.Fatalf("got %+v; want RequestTooLarge, not_applied, limit 2 MiB, not answered by etcd", err)
	}
	if p := e.Problem(); p.Code != problem.RequestTooLarge || p.Extra["limit"] != 2<<20 || p.GRPCMessage != "" {
		t.Errorf("problem %+v; want request_too_large with the limit and without words of etcd", p)
	}
	if n := s.puts.Load(); n != 0 {
		t.Errorf("the server saw %d puts; want none", n)
	}
}

func TestReadsHaveNoOutcome(t *testing.T) {
	t.Parallel()
	c, _, answer := failing(t)
	answer(status.Error(codes.PermissionDenied, "etcdserver: permission denied"))
	_, err := c.Range(within(t, 5*time.Second), &wire.RangeRequest{Key: []byte("k")})
	if e, ok := errors.AsType[*etcdclient.Error](err); !ok || e.Outcome != "" {
		t.Errorf("got %+v; want an error without an outcome", err)
	}
}

func TestCancelReasonsAreTyped(t *testing.T) {
	t.Parallel()
	for _, each := range []struct {
		reason, name string
		code         codes.Code
		problem      problem.Code
	}{
		{"rpc error: code = PermissionDenied desc = etcdserver: permission denied", "PermissionDenied", codes.PermissionDenied, problem.PermissionDenied},
		{"rpc error: code = Unauthenticated desc = etcdserver: invalid auth token", "InvalidAuthToken", codes.Unauthenticated, problem.AuthExpired},
		{"etcdserver: mvcc: required revision has been compacted", "Compacted", codes.OutOfRange, problem.Compacted},
		{"mvcc: duplicate watch ID provided on the WatchStream", "DuplicateWatchID", codes.AlreadyExists, problem.DuplicateID},
		{"rpc error: code = Unavailable desc = something", "Unavailable", codes.Unavailable, problem.Unavailable},
		{"something", "Unknown", codes.Unknown, problem.Unavailable},
	} {
		e := etcdclient.FromReason(each.reason)
		if e.Name != each.name || e.Code != each.code || e.Problem().Code != each.problem {
			t.Errorf("%q: got %s, %v, %s; want %s, %v, %s", each.reason, e.Name, e.Code, e.Problem().Code, each.name, each.code, each.problem)
		}
	}
	if !errors.Is(etcdclient.FromReason("rpc error: code = PermissionDenied desc = etcdserver: permission denied"), rpctypes.ErrPermissionDenied) {
		t.Error("errors.Is does not find rpctypes.ErrPermissionDenied in a cancel reason")
	}
}
