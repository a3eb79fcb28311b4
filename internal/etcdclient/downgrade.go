package etcdclient

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// DowngradeAction is what is to be done about a downgrade of the cluster.
type DowngradeAction = pb.DowngradeRequest_DowngradeAction

// The steps of a downgrade.
const (
	DowngradeValidate = pb.DowngradeRequest_VALIDATE
	DowngradeEnable   = pb.DowngradeRequest_ENABLE
	DowngradeCancel   = pb.DowngradeRequest_CANCEL
)

// Downgrade asks whether the cluster can be downgraded to the version, begins or ends it. It gives the cluster's version.
// A cluster that has none yet is asked for nothing else.
func (c *Client) Downgrade(ctx context.Context, action DowngradeAction, version string) (string, wire.Header, error) {
	r, err := pb.NewMaintenanceClient(c).Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: version})
	return r.GetVersion(), headerOf(r.GetHeader()), err
}

// anyVersion is asked for where the version does not matter: etcd finds out first whether the cluster has one.
const anyVersion = "3.0"

// changesDowngrade tells whether the request does more than ask.
func changesDowngrade(request any) (*pb.DowngradeRequest, bool) {
	r, ok := request.(*pb.DowngradeRequest)
	return r, ok && (r.GetAction() == DowngradeEnable || r.GetAction() == DowngradeCancel)
}

// changeDowngrade begins or ends a downgrade after the member has said that it knows its cluster's version. In the first
// moments of a new cluster a member does not, and etcd 3.7 crashes when it is asked to end a downgrade then: downgradeCancel
// reads the version unchecked. To validate is safe, and both are asked of one member over one connection.
func (c *Client) changeDowngrade(ctx context.Context, full string, r *pb.DowngradeRequest, answer any, opts []grpc.CallOption) error {
	m := lookup(full, r)
	on, failure := c.pool.pick(ctx, m, culprit{}, c.fits)
	if failure != nil {
		return failure
	}
	at, member := *c, on.member.Load()
	at.fits = func(n *conn) bool { return n == on && n.member.Load() == member }
	validate := &pb.DowngradeRequest{Action: DowngradeValidate, Version: r.GetVersion()}
	if r.GetAction() == DowngradeCancel {
		validate.Version = anyVersion
	}
	if err := at.invoke(ctx, full, validate, new(pb.DowngradeResponse), opts); err != nil && !versionKnown(r, err) {
		return untouched(err)
	}
	return at.invoke(ctx, full, r, answer, opts)
}

// untouched is the error where nothing was sent that changes anything.
func untouched(err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	copied := *e
	copied.Outcome = notApplied
	return &copied
}

// versionKnown tells whether the refusal to validate means no more than that the cluster has a version, where that is all
// that was asked.
func versionKnown(r *pb.DowngradeRequest, err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && r.GetAction() == DowngradeCancel && (e.Name == "InvalidDowngradeTargetVersion" || e.Name == "DowngradeInProcess")
}
