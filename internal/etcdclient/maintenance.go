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
