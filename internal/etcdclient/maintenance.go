package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Disarm ends an alarm. One that is not raised is no error.
func (c *Client) Disarm(ctx context.Context, a Alarm) (wire.Header, error) {
	r, err := pb.NewMaintenanceClient(c).Alarm(ctx, &pb.AlarmRequest{
		Action: pb.AlarmRequest_DEACTIVATE, MemberID: a.MemberID, Alarm: pb.AlarmType(pb.AlarmType_value[a.Kind]),
	})
	return headerOf(r.GetHeader()), err
}

// AlarmKinds are the kinds of alarms there are.
func AlarmKinds() []string {
	return []string{pb.AlarmType_NOSPACE.String(), pb.AlarmType_CORRUPT.String()}
}

// DowngradeAction is what is to be done about a downgrade of the cluster.
type DowngradeAction = pb.DowngradeRequest_DowngradeAction

// The steps of a downgrade.
const (
	DowngradeValidate = pb.DowngradeRequest_VALIDATE
	DowngradeEnable   = pb.DowngradeRequest_ENABLE
	DowngradeCancel   = pb.DowngradeRequest_CANCEL
)

// Downgrade asks whether the cluster can be downgraded to the version, begins or ends it. It gives the cluster's version.
func (c *Client) Downgrade(ctx context.Context, action DowngradeAction, version string) (string, wire.Header, error) {
	r, err := pb.NewMaintenanceClient(c).Downgrade(ctx, &pb.DowngradeRequest{Action: action, Version: version})
	return r.GetVersion(), headerOf(r.GetHeader()), err
}
