package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// Members of one cluster can run several releases, and a release that lacks a call says so only in gRPC's words. One that lacks a
// field of a request says nothing at all: it does as if the field were not there.

// has says that the release has what the method needs, or that it is not known.
func (r release) has(m *method) bool { return !r.known() || r.since(m.since) }

// errLacks is a request that the member would take for another one.
func errLacks(m *method, runs release) *Error {
	text := lackText(m, runs)
	return local(m, NameNotSupported, codes.Unimplemented, problem.NotSupported, text, text)
}

// explainLack adds to gRPC's error, that there is no such method, which release has it.
func (e *Error) explainLack(m *method, runs release) {
	if e.wire != codes.Unimplemented || isEtcdText(e.Message) || !m.since.known() {
		return
	}
	e.detail = lackText(m, runs)
	e.Message += " (" + e.detail + ")"
}

func lackText(m *method, runs release) string {
	text := "etcd " + m.since.minor() + " and later " + m.what
	if runs.known() {
		text += "; the member that was asked runs etcd " + runs.minor()
	}
	return text
}

// confirm has the member find out from a quorum how far the cluster is, before it lists members, where its release does not do that
// by itself: it would give those that it knows, which may be others, and need no quorum.
func (c *conn) confirm(ctx context.Context, m *method) error {
	if m != methodMembers || c.member.Load().release().has(m) {
		return nil
	}
	_, err := pb.NewKVClient(c.cc).Range(ctx, &pb.RangeRequest{Key: []byte{0}, CountOnly: true})
	if err != nil && fromStatus(methodRange, err, true, true, 0).problem == problem.PermissionDenied {
		return nil // which is judged after the quorum was asked
	}
	return err
}
