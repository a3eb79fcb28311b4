package etcdclient

import (
	"context"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/trail"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// Auditor is told of every write that the client is asked to make, whoever asks: it is the one place that all of them pass,
// so no caller can forget it. What keeps leases alive by itself is not told. It must be safe for concurrent use.
type Auditor interface {
	// Ready refuses writes that could not be recorded.
	Ready() error
	// Written takes what became of a write. The Write and what it points to are only lent.
	Written(ctx context.Context, w *trail.Write)
}

// audited makes a call, and tells the auditor of it if it is a write.
func audited[A any](ctx context.Context, c *Client, m *method, request any, do func() (A, error)) (A, error) {
	auditor := c.pool.config.Auditor
	if auditor == nil || m.read && !m.told(ctx) {
		return do()
	}
	if err := auditor.Ready(); err != nil {
		var none A
		return none, errNotRecorded(m, err)
	}
	answer, err := do()
	w := &trail.Write{RPC: m.name, Error: errorName(err)}
	describe(w, request, answer, err)
	auditor.Written(ctx, w)
	return answer, err
}

// told says that a call is to be recorded although it can be repeated like a read: a login, and the renewal of a lease, when
// a caller asks for them.
func (m *method) told(ctx context.Context) bool {
	return (m == methodAuthn || m == methodRenew) && trail.From(ctx) != nil
}

func errorName(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := err.(*Error); ok { //nolint:errorlint // the client's own, just made
		return e.Name
	}
	return string(problem.From(err).Code)
}

// describe fills in what the request asked for and the answer, which is nil or empty after an error, says of it.
func describe(w *trail.Write, request, answer any, err error) {
	w.Outcome = trail.Applied
	if err != nil {
		w.Outcome = problem.NotApplied
		if e, ok := err.(*Error); ok && e.Outcome != "" { //nolint:errorlint // as above
			w.Outcome = e.Outcome
		}
		answer = nil
	}
	if sent, ok := request.(*told); ok {
		request = sent.request
	}
	switch r := request.(type) {
	case *wire.PutRequest:
		a, _ := answer.(*wire.PutResponse)
		describePut(w, r, a)
	case *wire.DeleteRequest:
		a, _ := answer.(*wire.DeleteResponse)
		describeDelete(w, r, a)
	case *wire.TxnRequest:
		a, _ := answer.(*wire.TxnResponse)
		describeTxn(w, r, a)
	case proto.Message:
		describeMessage(w, r, answer)
	}
}

func describePut(w *trail.Write, r *wire.PutRequest, a *wire.PutResponse) {
	w.Ops = append(w.Ops, putOp(r, a))
	if a != nil {
		w.Revision = a.Header.Revision
	}
}

func putOp(r *wire.PutRequest, a *wire.PutResponse) trail.Op {
	op := trail.Op{Kind: "put", Key: r.Key, Lease: r.Lease, Before: trail.Unknown, Deleted: trail.Unknown}
	if a != nil && r.PrevKV {
		op.Before = a.PrevKV.ModRevision // 0 when there was none
	}
	return op
}

func describeDelete(w *trail.Write, r *wire.DeleteRequest, a *wire.DeleteResponse) {
	op := deleteOp(r, a)
	w.Ops = append(w.Ops, op)
	switch {
	case op.Deleted > 0:
		w.Revision = a.Header.Revision
	case op.Deleted == 0:
		w.Outcome = problem.NotApplied // there was nothing to delete
	}
}

func deleteOp(r *wire.DeleteRequest, a *wire.DeleteResponse) trail.Op {
	op := trail.Op{Kind: "delete", Key: r.Key, End: r.End, Before: trail.Unknown, Deleted: trail.Unknown}
	if a == nil {
		return op
	}
	op.Deleted = a.Deleted
	if kv, ok := a.PrevKVs.First(); ok && len(r.End) == 0 {
		op.Before = kv.ModRevision
	} else if a.Deleted == 0 && len(r.End) == 0 {
		op.Before = 0
	}
	return op
}

func describeTxn(w *trail.Write, r *wire.TxnRequest, a *wire.TxnResponse) {
	if a != nil {
		walk := txnWalk{before: make(map[string]int64)}
		walk.ran(r, a)
		if w.Ops = walk.ops; walk.wrote {
			w.Revision = a.Header.Revision
			return
		}
		w.Outcome = problem.NotApplied // the branch that ran changed nothing
	}
	if len(w.Ops) == 0 {
		w.Ops = asked(nil, r)
	}
}

// asked lists the writes of a transaction, whichever branch would run.
func asked(ops []trail.Op, t *wire.TxnRequest) []trail.Op {
	for _, branch := range [][]wire.Op{t.Then, t.Else} {
		for _, op := range branch {
			switch {
			case op.Put != nil:
				ops = append(ops, putOp(op.Put, nil))
			case op.Delete != nil:
				ops = append(ops, deleteOp(op.Delete, nil))
			case op.Txn != nil:
				ops = asked(ops, op.Txn)
			}
		}
	}
	return ops
}

// txnWalk goes through what a transaction did, noting what its conditions and reads say of the keys before.
type txnWalk struct {
	ops    []trail.Op
	before map[string]int64
	wrote  bool
}

func (t *txnWalk) ran(r *wire.TxnRequest, a *wire.TxnResponse) {
	branch := r.Else
	if a.Succeeded {
		branch = r.Then
		t.learn(r.If)
	}
	for i := range min(len(branch), len(a.Results)) {
		op, result := branch[i], a.Results[i]
		switch {
		case op.Range != nil && result.Range != nil:
			t.read(op.Range, result.Range)
		case op.Put != nil && result.Put != nil:
			t.write(putOp(op.Put, result.Put), true)
		case op.Delete != nil && result.Delete != nil:
			t.write(deleteOp(op.Delete, result.Delete), result.Delete.Deleted > 0)
		case op.Txn != nil && result.Txn != nil:
			t.ran(op.Txn, result.Txn)
		}
	}
}

// learn takes from conditions that held where a key stood before. etcd judges all of them before it runs anything.
func (t *txnWalk) learn(conditions []wire.Compare) {
	for i := range conditions {
		if revision, tells := standing(&conditions[i]); tells {
			t.found(conditions[i].Key, revision)
		}
	}
}

// found notes where a key stood, also for a write that came earlier in the transaction.
func (t *txnWalk) found(key []byte, revision int64) {
	for i := range t.ops {
		if op := &t.ops[i]; op.Before == trail.Unknown && len(op.End) == 0 && string(op.Key) == string(key) {
			op.Before = revision
		}
	}
	if _, known := t.before[string(key)]; !known {
		t.before[string(key)] = revision
	}
}

// read learns from a read of one key as it is. Of one that the transaction has written by then, it shows whether it was new.
func (t *txnWalk) read(r *wire.RangeRequest, a *wire.RangeResponse) {
	if !plain(r) {
		return
	}
	kv, _ := a.KVs.First()
	for i := range t.ops {
		op := &t.ops[i]
		if string(op.Key) == string(r.Key) && op.Kind == "put" && op.Before == trail.Unknown && kv.Version == 1 {
			op.Before = 0
		}
		if len(op.End) > 0 || string(op.Key) == string(r.Key) {
			return
		}
	}
	t.found(r.Key, kv.ModRevision)
}

func (t *txnWalk) write(op trail.Op, wrote bool) {
	if before, known := t.before[string(op.Key)]; known && op.Before == trail.Unknown && len(op.End) == 0 {
		op.Before = before
	}
	t.ops = append(t.ops, op)
	t.wrote = t.wrote || wrote
}

// header is of every answer.
type header interface{ GetHeader() *pb.ResponseHeader }

// auditedStream is a caller's own stream that renews leases: each answer is a renewal that happened.
type auditedStream struct {
	grpc.ClientStream
	ctx     context.Context //nolint:containedctx // the stream's own
	auditor Auditor
}

// RecvMsg implements grpc.ClientStream.
func (s *auditedStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if a, ok := m.(*pb.LeaseKeepAliveResponse); ok && err == nil {
		w := &trail.Write{RPC: methodRenew.name, Lease: a.GetID(), TTL: a.GetTTL(), Outcome: trail.Applied}
		if a.GetTTL() <= 0 {
			w.Outcome, w.Error = problem.NotApplied, "LeaseNotFound"
		}
		s.auditor.Written(s.ctx, w)
	}
	return err
}
