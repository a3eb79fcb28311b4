package etcdclient

import (
	"context"
	"errors"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/trail"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// An audit log tells where a key stood before it was written. Where neither the conditions of a write tell, nor what it reads
// anyway, a transaction looks: it reads the key without its value in the same transaction, before it writes. The caller's answer
// does not show it.

// mostOps is how many operations etcd takes in a branch, by default.
const mostOps = 128

// looks tells whether writes in the context are to look: those of callers, when somebody records them.
func (c *Client) looks(ctx context.Context) bool {
	return c.pool.config.Auditor != nil && trail.From(ctx) != nil
}

// looking gives the transaction with its looks; itself when it needs none.
func looking(t *wire.TxnRequest) *wire.TxnRequest { return lookingIn(t, nil) }

// lookingIn is looking within one that knows where these keys stand.
func lookingIn(t *wire.TxnRequest, known []string) *wire.TxnRequest {
	sure := known
	for i := range t.If {
		if _, tells := standing(&t.If[i]); tells {
			sure = append(slices.Clip(sure), string(t.If[i].Key))
		}
	}
	then, more := lookingBranch(t.Then, sure)
	other, too := lookingBranch(t.Else, known)
	if !more && !too {
		return t
	}
	return &wire.TxnRequest{If: t.If, Then: then, Else: other}
}

// lookingBranch gives a branch with its looks in front; false when it is as it was.
func lookingBranch(ops []wire.Op, known []string) (with []wire.Op, changed bool) {
	knows := make(map[string]bool, len(known)+len(ops))
	for _, key := range known {
		knows[key] = true
	}
	var looks, rest []wire.Op
	for i := range ops {
		op := ops[i]
		switch key := lookedAt(&op); {
		case key != nil && !knows[string(key)]:
			looks = append(looks, wire.Op{Range: &wire.RangeRequest{Key: key, KeysOnly: true}})
			knows[string(key)] = true
		case op.Range != nil && plain(op.Range):
			knows[string(op.Range.Key)] = true
		case op.Txn != nil:
			inner := lookingIn(op.Txn, known)
			changed = changed || inner != op.Txn
			op.Txn = inner
		}
		rest = append(rest, op)
	}
	if len(looks) == 0 || len(looks)+len(ops) > mostOps {
		return rest, changed
	}
	return append(looks, rest...), true
}

// lookedAt is the key that an operation writes without telling where it stood; nil for none. The gateway's own state is looked
// at by nobody.
func lookedAt(op *wire.Op) []byte {
	switch {
	case op.Put != nil && !op.Put.PrevKV && len(op.Put.Key) > 0 && !wire.IsState(op.Put.Key):
		return op.Put.Key
	case op.Delete != nil && !op.Delete.PrevKV && len(op.Delete.End) == 0 && len(op.Delete.Key) > 0 && !wire.IsState(op.Delete.Key):
		return op.Delete.Key
	}
	return nil
}

// plain tells whether a read shows where one key stands now.
func plain(r *wire.RangeRequest) bool {
	return len(r.End) == 0 && r.Revision == 0 && !r.CountOnly && r.MinModRevision|r.MaxModRevision|r.MinCreateRevision|r.MaxCreateRevision == 0
}

// standing tells where a condition that holds says that its key stands.
func standing(c *wire.Compare) (revision int64, tells bool) {
	switch {
	case c.Op != wire.Equal || len(c.End) > 0:
		return 0, false
	case c.Target == wire.TargetModRevision:
		return c.Number, true
	}
	return 0, c.Number == 0 && (c.Target == wire.TargetCreateRevision || c.Target == wire.TargetVersion)
}

// overlook takes what the looks brought out of the answer to a transaction that was asked for, and sent with its looks.
func overlook(asked, sent *wire.TxnRequest, a *wire.TxnResponse) {
	if asked == sent || a == nil {
		return
	}
	wanted, got := asked.Else, sent.Else
	if a.Succeeded {
		wanted, got = asked.Then, sent.Then
	}
	more := len(got) - len(wanted)
	if len(a.Results) != len(got) { // whoever reads the answer finds that it cannot be read
		return
	}
	a.Results = a.Results[more:]
	for i := range wanted {
		if wanted[i].Txn != nil {
			overlook(wanted[i].Txn, got[more+i].Txn, a.Results[i].Txn)
		}
	}
}

// told is a request as it was sent in the end.
type told struct{ request any }

// spoilt tells whether a write may have been refused for its looks: etcd demands a right to read for them, and they take room. Such
// a refusal proves that nothing was written.
func spoilt(err error) bool {
	e, ok := errors.AsType[*Error](err)
	if !ok || e.Outcome != notApplied {
		return false
	}
	switch e.problem { //nolint:exhaustive // the others have nothing to do with it
	case problem.PermissionDenied, problem.TooManyOperations, problem.RequestTooLarge:
		return true
	}
	return false
}

// txnLooking sends a transaction with its looks, and without them if it is refused for them.
func (c *Client) txnLooking(ctx context.Context, asked, with *wire.TxnRequest, prefix []byte) (*wire.TxnResponse, error) {
	sent := &told{with}
	answer, err := audited(ctx, c, methodTxn, sent, func() (*wire.TxnResponse, error) {
		answer, err := c.txnAlone(ctx, methodTxn, with, prefix)
		if spoilt(err) {
			sent.request = asked
			return c.txnAlone(ctx, methodTxn, asked, prefix)
		}
		return answer, err
	})
	if err == nil && sent.request != any(asked) {
		overlook(asked, with, answer)
	}
	return answer, err
}

// invokeLooking is invoke for a write of keys, which goes as a transaction that looks; done is false when there is nothing to look at.
func (c *Client) invokeLooking(ctx context.Context, m *method, request proto.Message, answer any, opts []grpc.CallOption) (done bool, err error) {
	asked := asTxn(request)
	if asked == nil {
		return false, nil
	}
	plain := wireTxn(asked)
	with := looking(plain)
	if with == plain {
		return false, nil
	}
	sent, got := &told{graft(asked, plain, with)}, new(pb.TxnResponse)
	_, err = audited(ctx, c, m, sent, func() (any, error) {
		message, _ := sent.request.(proto.Message)
		err := c.send(ctx, methodTxn, message, got, opts)
		if spoilt(err) {
			sent.request = request
			return answer, c.send(ctx, m, request, answer, opts)
		}
		return got, err
	})
	if err == nil && sent.request != any(request) {
		overlookMessage(plain, with, got)
		give(answer, got)
	}
	return true, err
}

// asTxn gives a write of keys as a transaction; nil for all other requests.
func asTxn(request proto.Message) *pb.TxnRequest {
	switch r := request.(type) {
	case *pb.PutRequest:
		return &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestPut{RequestPut: r}}}}
	case *pb.DeleteRangeRequest:
		return &pb.TxnRequest{Success: []*pb.RequestOp{{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: r}}}}
	case *pb.TxnRequest:
		return r
	}
	return nil
}

// give fills in the answer to what was asked for.
func give(answer any, got *pb.TxnResponse) {
	switch a := answer.(type) {
	case *pb.PutResponse:
		a.Header, a.PrevKv = got.GetHeader(), only(got).GetResponsePut().GetPrevKv()
	case *pb.DeleteRangeResponse:
		d := only(got).GetResponseDeleteRange()
		a.Header, a.Deleted, a.PrevKvs = got.GetHeader(), d.GetDeleted(), d.GetPrevKvs()
	case *pb.TxnResponse:
		a.Header, a.Succeeded, a.Responses = got.GetHeader(), got.GetSucceeded(), got.GetResponses()
	}
}

// only is the answer to the one operation of a transaction.
func only(t *pb.TxnResponse) *pb.ResponseOp {
	if len(t.GetResponses()) != 1 {
		return nil
	}
	return t.GetResponses()[0]
}

// graft gives a message the looks of its view.
func graft(t *pb.TxnRequest, plain, with *wire.TxnRequest) *pb.TxnRequest {
	if plain == with {
		return t
	}
	return &pb.TxnRequest{
		Compare: t.GetCompare(), Success: graftBranch(t.GetSuccess(), plain.Then, with.Then), Failure: graftBranch(t.GetFailure(), plain.Else, with.Else),
	}
}

func graftBranch(ops []*pb.RequestOp, plain, with []wire.Op) []*pb.RequestOp {
	more := len(with) - len(plain)
	all := make([]*pb.RequestOp, 0, len(with))
	for _, look := range with[:more] {
		all = append(all, &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: look.Range.Key, KeysOnly: true}}})
	}
	for i, op := range ops {
		if inner := op.GetRequestTxn(); inner != nil {
			op = &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: graft(inner, plain[i].Txn, with[more+i].Txn)}}
		}
		all = append(all, op)
	}
	return all
}

// overlookMessage is overlook for messages.
func overlookMessage(asked, sent *wire.TxnRequest, a *pb.TxnResponse) {
	if asked == sent || a == nil {
		return
	}
	wanted, got := asked.Else, sent.Else
	if a.GetSucceeded() {
		wanted, got = asked.Then, sent.Then
	}
	more := len(got) - len(wanted)
	if len(a.GetResponses()) != len(got) {
		return
	}
	a.Responses = a.GetResponses()[more:]
	for i := range wanted {
		if wanted[i].Txn != nil {
			overlookMessage(wanted[i].Txn, got[more+i].Txn, a.GetResponses()[i].GetResponseTxn())
		}
	}
}
