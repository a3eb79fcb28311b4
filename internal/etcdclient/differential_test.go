package etcdclient_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// result is what a call gave, whichever client made it.
type result struct {
	Error     string
	Code      codes.Code
	Revision  int64
	KVs       []pair
	Prev      []pair
	More      bool
	Count     int64
	Deleted   int64
	Succeeded bool
	Results   []result
	Numbers   []int64
	Words     []string
}

type pair struct {
	Key, Value                    string
	Create, Mod, Version, LeaseID int64
}

// twins are two etcds with the same history: one changed through our client, the other through etcd's own.
type twins struct {
	ours   *etcdclient.Client
	theirs *clientv3.Client
}

func (w twins) compare(t *testing.T, step string, ours, theirs result) {
	t.Helper()
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Fatalf("%s: (-official +ours)\n%s", step, diff)
	}
}

func newTwins(t *testing.T) twins {
	t.Helper()
	a, b := embedetcd.StartForTest(t), embedetcd.StartForTest(t)
	return twins{
		ours:   ready(t, []string{a.Endpoint()}),
		theirs: official(t, clientv3.Config{Endpoints: []string{b.Endpoint()}}),
	}
}

func ourError(err error) (r result) {
	if e, ok := errors.AsType[*etcdclient.Error](err); ok {
		return result{Error: e.Message, Code: e.Code}
	}
	return result{Error: "not typed: " + err.Error()}
}

func theirError(err error) (r result) {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return result{Error: e.Error(), Code: e.Code()}
	}
	return result{Error: status.Convert(err).Message(), Code: status.Code(err)}
}

func ourPairs(kvs *wire.KeyValues) (pairs []pair) {
	for kv := range kvs.All() {
		pairs = append(pairs, pair{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease})
	}
	return pairs
}

func theirPairs(kvs ...*mvccpb.KeyValue) (pairs []pair) {
	for _, kv := range kvs {
		if kv != nil {
			pairs = append(pairs, pair{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease})
		}
	}
	return pairs
}

func ourRange(r *wire.RangeResponse) result {
	return result{Revision: r.Header.Revision, KVs: ourPairs(&r.KVs), More: r.More, Count: r.Count}
}

func ourPut(r *wire.PutResponse) (out result) {
	out.Revision = r.Header.Revision
	if r.Existed {
		kv := r.PrevKV
		out.Prev = []pair{{string(kv.Key), string(kv.Value), kv.CreateRevision, kv.ModRevision, kv.Version, kv.Lease}}
	}
	return out
}

func ourDelete(r *wire.DeleteResponse) result {
	return result{Revision: r.Header.Revision, Deleted: r.Deleted, Prev: ourPairs(&r.PrevKVs)}
}

func ourTxn(r *wire.TxnResponse) result {
	out := result{Revision: r.Header.Revision, Succeeded: r.Succeeded}
	for _, op := range r.Results {
		switch {
		case op.Range != nil:
			out.Results = append(out.Results, ourRange(op.Range))
		case op.Put != nil:
			out.Results = append(out.Results, ourPut(op.Put))
		case op.Delete != nil:
			out.Results = append(out.Results, ourDelete(op.Delete))
		case op.Txn != nil:
			out.Results = append(out.Results, ourTxn(op.Txn))
		}
	}
	return out
}

func theirRange(r *pb.RangeResponse) result {
	return result{Revision: r.GetHeader().GetRevision(), KVs: theirPairs(r.GetKvs()...), More: r.GetMore(), Count: r.GetCount()}
}

func theirPut(r *pb.PutResponse) result {
	return result{Revision: r.GetHeader().GetRevision(), Prev: theirPairs(r.GetPrevKv())}
}

func theirDelete(r *pb.DeleteRangeResponse) result {
	return result{Revision: r.GetHeader().GetRevision(), Deleted: r.GetDeleted(), Prev: theirPairs(r.GetPrevKvs()...)}
}

func theirTxn(r *pb.TxnResponse) result {
	out := result{Revision: r.GetHeader().GetRevision(), Succeeded: r.GetSucceeded()}
	for _, op := range r.GetResponses() {
		switch {
		case op.GetResponseRange() != nil:
			out.Results = append(out.Results, theirRange(op.GetResponseRange()))
		case op.GetResponsePut() != nil:
			out.Results = append(out.Results, theirPut(op.GetResponsePut()))
		case op.GetResponseDeleteRange() != nil:
			out.Results = append(out.Results, theirDelete(op.GetResponseDeleteRange()))
		case op.GetResponseTxn() != nil:
			out.Results = append(out.Results, theirTxn(op.GetResponseTxn()))
		}
	}
	return out
}

// maker makes random calls, from few enough keys that they meet.
type maker struct {
	*rand.Rand
	revision int64
}

var (
	someKeys = []string{"a", "b", "b/1", "b/2", "c\x00", "\xff\xfe", "ключ", "z"}
	someEnds = []string{"", "", "\x00", "c", "z", "\xff", "a"}
)

func (m *maker) one(from []string) []byte {
	if m.IntN(40) == 0 {
		return nil
	}
	return []byte(from[m.IntN(len(from))])
}

func (m *maker) chance(n int) bool { return m.IntN(n) == 0 }

func (m *maker) lease() int64 {
	if m.chance(4) {
		return int64(1 + m.IntN(5))
	}
	return 0
}

func (m *maker) rangeRequest() *wire.RangeRequest {
	r := &wire.RangeRequest{Key: m.one(someKeys), End: m.one(someEnds)}
	if m.chance(3) {
		r.Limit = int64(m.IntN(4))
	}
	if m.chance(3) {
		r.Revision = m.Int64N(m.revision+5) - 1
	}
	if m.chance(3) {
		r.Order, r.SortBy = wire.Order(m.IntN(3)), wire.SortBy(m.IntN(5))
	}
	r.Serializable, r.KeysOnly, r.CountOnly = m.chance(4), m.chance(5), m.chance(6)
	if m.chance(6) {
		r.MinModRevision, r.MaxModRevision = m.Int64N(m.revision+1), m.Int64N(m.revision+1)
	}
	if m.chance(6) {
		r.MinCreateRevision, r.MaxCreateRevision = m.Int64N(m.revision+1), m.Int64N(m.revision+1)
	}
	return r
}

func (m *maker) putRequest() *wire.PutRequest {
	r := &wire.PutRequest{Key: m.one(someKeys), Lease: m.lease(), PrevKV: m.chance(2)}
	if !m.chance(6) {
		r.Value = fmt.Appendf(nil, "value %d\x00\xff", m.IntN(100))
	}
	r.IgnoreValue, r.IgnoreLease = m.chance(8), m.chance(8)
	return r
}

func (m *maker) deleteRequest() *wire.DeleteRequest {
	return &wire.DeleteRequest{Key: m.one(someKeys), End: m.one(someEnds), PrevKV: m.chance(2)}
}

func (m *maker) txn(depth int) *wire.TxnRequest {
	t := &wire.TxnRequest{Then: m.ops(depth), Else: m.ops(depth)}
	for range m.IntN(3) {
		c := wire.Compare{Key: m.one(someKeys), Op: wire.CompareOp(m.IntN(4)), Target: wire.CompareTarget(m.IntN(5))}
		if m.chance(3) {
			c.End = m.one(someEnds)
		}
		if c.Target == wire.TargetValue {
			c.Value = fmt.Appendf(nil, "value %d\x00\xff", m.IntN(100))
		} else {
			c.Number = m.Int64N(m.revision + 1)
		}
		t.If = append(t.If, c)
	}
	return t
}

func (m *maker) ops(depth int) (ops []wire.Op) {
	for range m.IntN(4) {
		switch n := m.IntN(8); {
		case n < 3:
			ops = append(ops, wire.Op{Range: m.rangeRequest()})
		case n < 6:
			ops = append(ops, wire.Op{Put: m.putRequest()})
		case n < 7 || depth == 0:
			ops = append(ops, wire.Op{Delete: m.deleteRequest()})
		default:
			ops = append(ops, wire.Op{Txn: m.txn(depth - 1)})
		}
	}
	return ops
}

// The same requests in the official client's terms.

func theirGet(r *wire.RangeRequest) clientv3.Op {
	opts := []clientv3.OpOption{
		clientv3.WithRange(string(r.End)), clientv3.WithLimit(r.Limit), clientv3.WithRev(r.Revision),
		clientv3.WithMinModRev(r.MinModRevision), clientv3.WithMaxModRev(r.MaxModRevision),
		clientv3.WithMinCreateRev(r.MinCreateRevision), clientv3.WithMaxCreateRev(r.MaxCreateRevision),
	}
	if r.Order != wire.Unsorted || r.SortBy != wire.ByKey {
		opts = append(opts, clientv3.WithSort(clientv3.SortTarget(r.SortBy), clientv3.SortOrder(r.Order)))
	}
	for opt, set := range map[string]bool{"s": r.Serializable, "k": r.KeysOnly, "c": r.CountOnly} {
		if set {
			opts = append(opts, map[string]clientv3.OpOption{
				"s": clientv3.WithSerializable(), "k": clientv3.WithKeysOnly(), "c": clientv3.WithCountOnly(),
			}[opt])
		}
	}
	return clientv3.OpGet(string(r.Key), opts...)
}

func theirPutOp(r *wire.PutRequest) clientv3.Op {
	opts := []clientv3.OpOption{clientv3.WithLease(clientv3.LeaseID(r.Lease))}
	if r.PrevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	if r.IgnoreValue {
		opts = append(opts, clientv3.WithIgnoreValue())
	}
	if r.IgnoreLease {
		opts = append(opts, clientv3.WithIgnoreLease())
	}
	return clientv3.OpPut(string(r.Key), string(r.Value), opts...)
}

func theirDeleteOp(r *wire.DeleteRequest) clientv3.Op {
	opts := []clientv3.OpOption{clientv3.WithRange(string(r.End))}
	if r.PrevKV {
		opts = append(opts, clientv3.WithPrevKV())
	}
	return clientv3.OpDelete(string(r.Key), opts...)
}

func theirTxnOp(t *wire.TxnRequest) clientv3.Op {
	return clientv3.OpTxn(theirCompares(t.If), theirOps(t.Then), theirOps(t.Else))
}

func theirCompares(compares []wire.Compare) (cmps []clientv3.Cmp) {
	relations := map[wire.CompareOp]string{wire.Equal: "=", wire.Greater: ">", wire.Less: "<", wire.NotEqual: "!="}
	for _, c := range compares {
		var (
			out   clientv3.Cmp
			value any = c.Number
			key       = string(c.Key)
		)
		switch c.Target {
		case wire.TargetVersion:
			out = clientv3.Version(key)
		case wire.TargetCreateRevision:
			out = clientv3.CreateRevision(key)
		case wire.TargetModRevision:
			out = clientv3.ModRevision(key)
		case wire.TargetValue:
			out, value = clientv3.Value(key), string(c.Value)
		case wire.TargetLease:
			out, value = clientv3.LeaseValue(key), clientv3.LeaseID(c.Number)
		}
		out = clientv3.Compare(out, relations[c.Op], value)
		if len(c.End) > 0 {
			out = out.WithRange(string(c.End))
		}
		cmps = append(cmps, out)
	}
	return cmps
}

func theirOps(ops []wire.Op) (out []clientv3.Op) {
	for _, op := range ops {
		switch {
		case op.Range != nil:
			out = append(out, theirGet(op.Range))
		case op.Put != nil:
			out = append(out, theirPutOp(op.Put))
		case op.Delete != nil:
			out = append(out, theirDeleteOp(op.Delete))
		case op.Txn != nil:
			out = append(out, theirTxnOp(op.Txn))
		}
	}
	return out
}

func (w twins) do(ctx context.Context, op wire.Op) (ours, theirs result) {
	var err error
	switch {
	case op.Range != nil:
		var r *wire.RangeResponse
		if r, err = w.ours.Range(ctx, op.Range); err == nil {
			ours = ourRange(r)
		}
	case op.Put != nil:
		var r *wire.PutResponse
		if r, err = w.ours.Put(ctx, op.Put); err == nil {
			ours = ourPut(r)
		}
	case op.Delete != nil:
		var r *wire.DeleteResponse
		if r, err = w.ours.DeleteRange(ctx, op.Delete); err == nil {
			ours = ourDelete(r)
		}
	case op.Txn != nil:
		var r *wire.TxnResponse
		if r, err = w.ours.Txn(ctx, op.Txn); err == nil {
			ours = ourTxn(r)
		}
	}
	if err != nil {
		ours = ourError(err)
	}
	r, err := w.theirs.Do(ctx, theirOps([]wire.Op{op})[0])
	switch {
	case err != nil:
		theirs = theirError(err)
	case op.Range != nil:
		theirs = theirRange((*pb.RangeResponse)(r.Get()))
	case op.Put != nil:
		theirs = theirPut((*pb.PutResponse)(r.Put()))
	case op.Delete != nil:
		theirs = theirDelete((*pb.DeleteRangeResponse)(r.Del()))
	case op.Txn != nil:
		theirs = theirTxn((*pb.TxnResponse)(r.Txn()))
	}
	return ours, theirs
}

func TestDifferentialSameCallsSameResultsSameErrors(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			w := newTwins(t)
			ctx := within(t, 60*time.Second)
			m := &maker{Rand: rand.New(rand.NewPCG(seed, 1)), revision: 1}
			for id := range int64(4) { // the fifth is unknown
				ours, theirs := w.leaseGrant(ctx, 1000, id+1)
				w.compare(t, "lease grant", ours, theirs)
			}
			failures := map[string]int{}
			for i := range 400 {
				var op wire.Op
				switch n := m.IntN(10); {
				case n < 4:
					op.Range = m.rangeRequest()
				case n < 6:
					op.Put = m.putRequest()
				case n < 7:
					op.Delete = m.deleteRequest()
				default:
					op.Txn = m.txn(2)
				}
				ours, theirs := w.do(ctx, op)
				w.compare(t, fmt.Sprintf("call %d, %+v", i, op), ours, theirs)
				m.revision = max(m.revision, ours.Revision)
				failures[ours.Error]++
				if i%100 == 99 {
					ours, theirs := w.compact(ctx, m.revision-20)
					w.compare(t, "compact", ours, theirs)
					ours, theirs = w.compact(ctx, m.revision-20)
					w.compare(t, "compact again", ours, theirs)
				}
			}
			if len(failures) < 6 || failures[""] < 100 {
				t.Errorf("the calls ended in %d ways, %v; want many of both kinds", len(failures), failures)
			}
		})
	}
}

func (w twins) leaseGrant(ctx context.Context, ttl, id int64) (ours, theirs result) {
	if l, err := w.ours.LeaseGrant(ctx, ttl, id); err != nil {
		ours = ourError(err)
	} else {
		ours = result{Numbers: []int64{l.ID, l.TTL}, Revision: l.Header.Revision}
	}
	// The official client cannot choose an id.
	r, err := clientv3.RetryLeaseClient(w.theirs).LeaseGrant(ctx, &pb.LeaseGrantRequest{TTL: ttl, ID: id})
	if err != nil {
		return ours, theirError(rpctypes.Error(err))
	}
	return ours, result{Numbers: []int64{r.GetID(), r.GetTTL()}, Revision: r.GetHeader().GetRevision()}
}

func (w twins) compact(ctx context.Context, revision int64) (ours, theirs result) {
	if h, err := w.ours.Compact(ctx, revision, true); err != nil {
		ours = ourError(err)
	} else {
		ours = result{Revision: h.Revision}
	}
	if r, err := w.theirs.Compact(ctx, revision, clientv3.WithCompactPhysical()); err != nil {
		theirs = theirError(err)
	} else {
		theirs = result{Revision: r.Header.Revision}
	}
	return ours, theirs
}

func TestDifferentialLeases(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	ctx := within(t, 30*time.Second)
	check := func(step string, ours, theirs result) {
		t.Helper()
		w.compare(t, step, ours, theirs)
	}
	for _, each := range []struct{ ttl, id int64 }{{100, 7}, {100, 7}, {0, 8}, {-1, 9}, {9_000_000_001, 10}, {1, 11}} {
		ours, theirs := w.leaseGrant(ctx, each.ttl, each.id)
		check(fmt.Sprintf("grant %+v", each), ours, theirs)
	}
	ours, theirs := w.do(ctx, wire.Op{Put: &wire.PutRequest{Key: []byte("k"), Lease: 7}})
	check("put", ours, theirs)

	for _, id := range []int64{7, 99} {
		if s, err := w.ours.LeaseTimeToLive(ctx, id, true); errors.Is(err, etcdclient.ErrLeaseNotFound) {
			ours = result{Numbers: []int64{-1}} // the official client gives etcd's -1
		} else if err != nil {
			ours = ourError(err)
		} else {
			ours = result{Numbers: []int64{s.GrantedTTL}}
			for _, k := range s.Keys {
				ours.Words = append(ours.Words, string(k))
			}
		}
		if r, err := w.theirs.TimeToLive(ctx, clientv3.LeaseID(id), clientv3.WithAttachedKeys()); err != nil {
			theirs = theirError(err)
		} else if r.TTL < 0 {
			theirs = result{Numbers: []int64{-1}}
		} else {
			theirs = result{Numbers: []int64{r.GrantedTTL}}
			for _, k := range r.Keys {
				theirs.Words = append(theirs.Words, string(k))
			}
		}
		check("time to live", ours, theirs)

		if ttl, err := w.ours.LeaseKeepAliveOnce(ctx, id); err != nil {
			ours = ourError(err)
		} else {
			ours = result{Numbers: []int64{ttl}}
		}
		if r, err := w.theirs.KeepAliveOnce(ctx, clientv3.LeaseID(id)); err != nil {
			theirs = theirError(err)
		} else {
			theirs = result{Numbers: []int64{r.TTL}}
		}
		check("keep alive", ours, theirs)

		for _, step := range []string{"revoke", "revoke again"} {
			if h, err := w.ours.LeaseRevoke(ctx, id); err != nil {
				ours = ourError(err)
			} else {
				ours = result{Revision: h.Revision}
			}
			if r, err := w.theirs.Revoke(ctx, clientv3.LeaseID(id)); err != nil {
				theirs = theirError(err)
			} else {
				theirs = result{Revision: r.Header.Revision}
			}
			check(step, ours, theirs)
		}
	}
	ids, _, err := w.ours.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.theirs.Leases(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var theirIDs []int64
	for _, l := range r.Leases {
		theirIDs = append(theirIDs, int64(l.ID))
	}
	slices.Sort(ids)
	slices.Sort(theirIDs)
	check("leases", result{Numbers: ids}, result{Numbers: theirIDs})
}

func TestDifferentialAuthClusterAndMaintenance(t *testing.T) {
	t.Parallel()
	w := newTwins(t)
	ctx := within(t, 60*time.Second)
	auth, cluster, maintenance := pb.NewAuthClient(w.ours), pb.NewClusterClient(w.ours), pb.NewMaintenanceClient(w.ours)
	read := &pb.AuthRoleGrantPermissionRequest{Name: "r"} // no permission
	for _, each := range []struct {
		step         string
		ours, theirs func() error
	}{
		{"authenticate while off", func() error {
			_, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: "u", Password: "p"})
			return err
		}, func() error { _, err := w.theirs.Authenticate(ctx, "u", "p"); return err }},
		{"enable without root", func() error { _, err := auth.AuthEnable(ctx, &pb.AuthEnableRequest{}); return err }, func() error { _, err := w.theirs.AuthEnable(ctx); return err }},
		{"add user", func() error {
			_, err := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u", Password: "p"})
			return err
		}, func() error { _, err := w.theirs.UserAdd(ctx, "u", "p"); return err }},
		{"add user again", func() error {
			_, err := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "u", Password: "p"})
			return err
		}, func() error { _, err := w.theirs.UserAdd(ctx, "u", "p"); return err }},
		{"add nobody", func() error { _, err := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Password: "p"}); return err }, func() error { _, err := w.theirs.UserAdd(ctx, "", "p"); return err }},
		{"get unknown user", func() error { _, err := auth.UserGet(ctx, &pb.AuthUserGetRequest{Name: "x"}); return err }, func() error { _, err := w.theirs.UserGet(ctx, "x"); return err }},
		{"add role", func() error { _, err := auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "r"}); return err }, func() error { _, err := w.theirs.RoleAdd(ctx, "r"); return err }},
		{"add role again", func() error { _, err := auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "r"}); return err }, func() error { _, err := w.theirs.RoleAdd(ctx, "r"); return err }},
		{"add empty role", func() error { _, err := auth.RoleAdd(ctx, &pb.AuthRoleAddRequest{}); return err }, func() error { _, err := w.theirs.RoleAdd(ctx, ""); return err }},
		{"grant no permission", func() error { _, err := auth.RoleGrantPermission(ctx, read); return err }, func() error {
			_, err := clientv3.RetryAuthClient(w.theirs).RoleGrantPermission(ctx, read)
			return rpctypes.Error(err)
		}},
		{"revoke a permission not granted", func() error {
			_, err := auth.RoleRevokePermission(ctx, &pb.AuthRoleRevokePermissionRequest{Role: "r", Key: []byte("k")})
			return err
		}, func() error { _, err := w.theirs.RoleRevokePermission(ctx, "r", "k", ""); return err }},
		{"grant unknown role", func() error {
			_, err := auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "u", Role: "x"})
			return err
		}, func() error { _, err := w.theirs.UserGrantRole(ctx, "u", "x"); return err }},
		{"revoke a role not granted", func() error {
			_, err := auth.UserRevokeRole(ctx, &pb.AuthUserRevokeRoleRequest{Name: "u", Role: "r"})
			return err
		}, func() error { _, err := w.theirs.UserRevokeRole(ctx, "u", "r"); return err }},
		{"delete unknown role", func() error { _, err := auth.RoleDelete(ctx, &pb.AuthRoleDeleteRequest{Role: "x"}); return err }, func() error { _, err := w.theirs.RoleDelete(ctx, "x"); return err }},
		{"add a bad member", func() error {
			_, err := cluster.MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{"bad"}})
			return err
		}, func() error {
			_, err := clientv3.RetryClusterClient(w.theirs).MemberAdd(ctx, &pb.MemberAddRequest{PeerURLs: []string{"bad"}})
			return rpctypes.Error(err)
		}},
		{"remove an unknown member", func() error { _, err := cluster.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: 1}); return err }, func() error { _, err := w.theirs.MemberRemove(ctx, 1); return err }},
		{"promote an unknown member", func() error { _, err := cluster.MemberPromote(ctx, &pb.MemberPromoteRequest{ID: 1}); return err }, func() error { _, err := w.theirs.MemberPromote(ctx, 1); return err }},
		{"move the leader to a stranger", func() error { _, err := maintenance.MoveLeader(ctx, &pb.MoveLeaderRequest{TargetID: 1}); return err }, func() error { _, err := w.theirs.MoveLeader(ctx, 1); return err }},
		{"downgrade to nothing", func() error {
			_, err := maintenance.Downgrade(ctx, &pb.DowngradeRequest{Action: pb.DowngradeRequest_VALIDATE, Version: "x"})
			return err
		}, func() error { _, err := w.theirs.Downgrade(ctx, clientv3.DowngradeValidate, "x"); return err }},
		{"cancel no downgrade", func() error {
			_, err := maintenance.Downgrade(ctx, &pb.DowngradeRequest{Action: pb.DowngradeRequest_CANCEL})
			return err
		}, func() error { _, err := w.theirs.Downgrade(ctx, clientv3.DowngradeCancel, ""); return err }},
		{"disarm", func() error {
			_, err := maintenance.Alarm(ctx, &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE})
			return err
		}, func() error { _, err := w.theirs.AlarmDisarm(ctx, &clientv3.AlarmMember{}); return err }},
		{"add root", func() error {
			_, err := auth.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "p"})
			return err
		}, func() error { _, err := w.theirs.UserAdd(ctx, "root", "p"); return err }},
		{"root role", func() error {
			_, err := auth.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"})
			return err
		}, func() error { _, err := w.theirs.UserGrantRole(ctx, "root", "root"); return err }},
		{"enable", func() error { _, err := auth.AuthEnable(ctx, &pb.AuthEnableRequest{}); return err }, func() error { _, err := w.theirs.AuthEnable(ctx); return err }},
		{"a put by nobody", func() error { _, err := w.ours.Put(ctx, &wire.PutRequest{Key: []byte("k")}); return err }, func() error { _, err := w.theirs.Put(ctx, "k", ""); return err }},
		{"users by nobody", func() error { _, err := auth.UserList(ctx, &pb.AuthUserListRequest{}); return err }, func() error { _, err := w.theirs.UserList(ctx); return err }},
		{"wrong password", func() error {
			_, err := auth.Authenticate(ctx, &pb.AuthenticateRequest{Name: "u", Password: "x"})
			return err
		}, func() error { _, err := w.theirs.Authenticate(ctx, "u", "x"); return err }},
	} {
		var ours, theirs result
		if err := each.ours(); err != nil {
			ours = ourError(err)
		}
		if err := each.theirs(); err != nil {
			theirs = theirError(err)
		}
		w.compare(t, each.step, ours, theirs)
	}
}
