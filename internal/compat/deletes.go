package compat

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// spans appends the ranges that a transaction may delete, in whichever branch, however deep.
func spans(dst []authz.Span, t *pb.TxnRequest) []authz.Span {
	for _, branch := range [][]*pb.RequestOp{t.GetSuccess(), t.GetFailure()} {
		for _, op := range branch {
			if d := op.GetRequestDeleteRange(); len(d.GetRangeEnd()) > 0 {
				dst = append(dst, authz.Span{Key: d.GetKey(), End: d.GetRangeEnd()})
			}
			if inner := op.GetRequestTxn(); inner != nil {
				dst = spans(dst, inner)
			}
		}
	}
	return dst
}

// deleteRange deletes a range within what the caller may delete by one request.
func (u *unary) deleteRange(ctx context.Context, r *pb.DeleteRangeRequest, answer *pb.DeleteRangeResponse) error {
	t := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}}}
	done := new(pb.TxnResponse)
	if err := u.deleting(ctx, t, done, spans(nil, t)); err != nil {
		return err
	}
	if len(done.GetResponses()) == 1 {
		d := done.GetResponses()[0].GetResponseDeleteRange()
		answer.Deleted, answer.PrevKvs = d.GetDeleted(), d.GetPrevKvs()
	}
	answer.Header = done.GetHeader()
	return nil
}

// deleting sends a transaction that deletes ranges, inside one that demands that they are as they were counted.
func (u *unary) deleting(ctx context.Context, t *pb.TxnRequest, answer *pb.TxnResponse, ranges []authz.Span) error {
	err := u.caller.Store().Deleting(ctx, ranges, func(revision int64) (bool, error) {
		guarded := &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestTxn{RequestTxn: t}}}}
		for _, span := range ranges {
			guarded.Compare = append(guarded.Compare, &pb.Compare{
				Key: span.Key, RangeEnd: span.End, Target: pb.Compare_MOD, Result: pb.Compare_LESS,
				TargetUnion: &pb.Compare_ModRevision{ModRevision: revision + 1},
			})
		}
		done := new(pb.TxnResponse)
		if err := u.conn.Invoke(ctx, pb.KV_Txn_FullMethodName, guarded, done, u.opts...); err != nil || !done.GetSucceeded() {
			return false, err
		}
		if len(done.GetResponses()) == 1 {
			inner := done.GetResponses()[0].GetResponseTxn()
			answer.Succeeded, answer.Responses = inner.GetSucceeded(), inner.GetResponses()
		}
		answer.Header = done.GetHeader()
		return true, nil
	})
	return inWords(err)
}

// inWords says what refuses a deletion in etcd's words, where it has some.
func inWords(err error) error {
	e, own := err.(*problem.Error) //nolint:errorlint // what etcd says is passed on as it is, and is no problem by itself
	if !own {
		return err
	}
	switch e.Code { //nolint:exhaustive // etcd's words for the others are behind statusOf
	case problem.TooManyDeletes:
		return status.Error(codes.ResourceExhausted, e.Detail)
	case problem.Conflict:
		return status.Error(codes.Aborted, e.Detail)
	}
	return statusOf(e).Err()
}
