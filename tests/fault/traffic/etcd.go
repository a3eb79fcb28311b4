package traffic

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Etcd writes by etcd's official client. It calls every failure unknown.
type Etcd struct{ Client *clientv3.Client }

// Write is one transaction.
func (e Etcd) Write(ctx context.Context, ops []Op) Write {
	w := Write{Ops: ops, Told: Applied}
	all := make([]clientv3.Op, 0, len(ops))
	for _, op := range ops {
		switch {
		case op.Delete:
			all = append(all, clientv3.OpDelete(op.Key))
		case op.Lease != 0:
			all = append(all, clientv3.OpPut(op.Key, op.Value, clientv3.WithLease(clientv3.LeaseID(op.Lease))))
		default:
			all = append(all, clientv3.OpPut(op.Key, op.Value))
		}
	}
	answer, err := e.Client.Txn(ctx).Then(all...).Commit()
	if err != nil {
		w.Told, w.Err = Unknown, err
		return w
	}
	w.Revision = answer.Header.Revision
	return w
}
