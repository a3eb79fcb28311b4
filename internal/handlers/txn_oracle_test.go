package handlers_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// twin is a random transaction in two forms: the API's body over the keys below ours/, and the official client's
// operations over those below them/.
type twin struct {
	body          map[string]any
	ifs           []clientv3.Cmp
	then, elseOps []clientv3.Op
}

const (
	ours = "ours/"
	them = "them/"
)

type twins struct{ *rand.Rand }

func (r twins) key() string { return string(rune('a' + r.IntN(6))) }

func (r twins) txn(depth int) *twin {
	t := &twin{body: map[string]any{}}
	var ifs []any
	for range r.IntN(3) {
		condition, cmp := r.condition()
		ifs, t.ifs = append(ifs, condition), append(t.ifs, cmp)
	}
	t.body["if"] = ifs
	t.body["then"], t.then = r.branch(depth)
	t.body["else"], t.elseOps = r.branch(depth)
	return t
}

// condition compares what is the same in both key spaces: revisions are not, but for 0.
func (r twins) condition() (map[string]any, clientv3.Cmp) {
	key := r.key()
	m := map[string]any{"key": ours + key}
	ranged := func(c clientv3.Cmp) clientv3.Cmp { return c }
	switch r.IntN(3) {
	case 0:
		m, ranged = map[string]any{"prefix": ours + key}, clientv3.Cmp.WithPrefix
	case 1:
		if to := string(rune('a' + r.IntN(7))); to > key {
			m = map[string]any{"from": ours + key, "to": ours + to}
			ranged = func(c clientv3.Cmp) clientv3.Cmp { return c.WithRange(them + to) }
		}
	}
	name := []string{"eq", "ne", "lt", "gt"}[r.IntN(4)]
	op := map[string]string{"eq": "=", "ne": "!=", "lt": "<", "gt": ">"}[name]
	m["op"] = name
	var cmp clientv3.Cmp
	switch r.IntN(5) {
	case 0:
		value := fmt.Sprint(r.IntN(4))
		m["value"] = value
		cmp = clientv3.Compare(clientv3.Value(them+key), op, value)
	case 1:
		n := r.IntN(4)
		m["version"] = n
		cmp = clientv3.Compare(clientv3.Version(them+key), op, n)
	case 2:
		m["create_revision"] = 0
		cmp = clientv3.Compare(clientv3.CreateRevision(them+key), op, 0)
	case 3:
		m["lease"] = "0"
		cmp = clientv3.Compare(clientv3.LeaseValue(them+key), op, 0)
	default:
		delete(m, "op")
		exists := r.IntN(2) == 0
		m["exists"] = exists
		op = "="
		if exists {
			op = "!="
		}
		cmp = clientv3.Compare(clientv3.CreateRevision(them+key), op, 0)
	}
	return m, ranged(cmp)
}

func (r twins) branch(depth int) (body []any, ops []clientv3.Op) {
	for range r.IntN(4) {
		kind := r.IntN(7)
		if depth == 0 && kind == 6 {
			kind = 0
		}
		name, member, op := r.operation(kind, depth)
		body, ops = append(body, map[string]any{name: member}), append(ops, op)
	}
	return body, ops
}

func (r twins) operation(kind, depth int) (string, any, clientv3.Op) {
	key := r.key()
	prev := r.IntN(2) == 0
	var opts []clientv3.OpOption
	switch kind {
	case 0, 1:
		value := fmt.Sprint(r.IntN(4))
		if prev {
			opts = append(opts, clientv3.WithPrevKV())
		}
		return "put", map[string]any{"key": ours + key, "value": value, "prev_kv": prev}, clientv3.OpPut(them+key, value, opts...)
	case 2:
		if prev {
			opts = append(opts, clientv3.WithPrevKV())
		}
		return "delete", map[string]any{"key": ours + key, "prev_kv": prev}, clientv3.OpDelete(them+key, opts...)
	case 3:
		opts = append(opts, clientv3.WithPrefix())
		return "delete", map[string]any{"prefix": ours + key}, clientv3.OpDelete(them+key, opts...)
	case 4:
		return "get", map[string]any{"key": ours + key}, clientv3.OpGet(them + key)
	case 5:
		get := map[string]any{"prefix": ours, "limit": 1 + r.IntN(4)}
		opts = append(opts, clientv3.WithPrefix(), clientv3.WithLimit(int64(get["limit"].(int))))
		if prev {
			get["order"] = "desc"
			opts = append(opts, clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend))
		}
		if r.IntN(3) == 0 {
			get["count_only"] = true
			opts = append(opts, clientv3.WithCountOnly())
		}
		if r.IntN(3) == 0 {
			get["keys_only"] = true
			opts = append(opts, clientv3.WithKeysOnly())
		}
		return "get", get, clientv3.OpGet(them, opts...)
	default:
		t := r.txn(depth - 1)
		return "txn", t.body, clientv3.OpTxn(t.ifs, t.then, t.elseOps)
	}
}

// Random nested transactions do the same through the API and through etcd's official client.
func TestTxnDoesWhatTheOfficialClientDoes(t *testing.T) {
	t.Parallel()
	g := start(t)
	random := twins{rand.New(rand.NewPCG(7, 11))}
	outcomes := map[string]int{}
	for i := range 400 {
		x := random.txn(3)
		body, err := json.Marshal(x.body)
		if err != nil {
			t.Fatal(err)
		}
		answer := g.do(t, "POST", "/v1/txn", string(body))
		want, err := g.oracle.Txn(t.Context()).If(x.ifs...).Then(x.then...).Else(x.elseOps...).Commit()
		switch {
		case errors.Is(err, rpctypes.ErrDuplicateKey):
			answer.problem(t, 422, "duplicate_key")
			outcomes["duplicate_key"]++
			continue
		case err != nil:
			t.Fatalf("%d: %s: the oracle: %v", i, body, err)
		}
		got := shapeOurs(t, answer.want(t, 200).json(t))
		if diff := cmp.Diff(shapeTheirs(want), got); diff != "" {
			t.Fatalf("%d: %s (-oracle +ours):\n%s", i, body, diff)
		}
		outcomes[fmt.Sprint("succeeded ", want.Succeeded)]++
		if diff := cmp.Diff(space(t, g, them), space(t, g, ours)); diff != "" {
			t.Fatalf("%d: %s: the stores differ (-oracle +ours):\n%s", i, body, diff)
		}
	}
	for _, outcome := range []string{"duplicate_key", "succeeded true", "succeeded false"} {
		if outcomes[outcome] < 20 {
			t.Errorf("outcomes: %v: too few of %s for the comparison to mean much", outcomes, outcome)
		}
	}
}

// shape is an answer reduced to what both forms say.
type shape struct {
	Kind      string
	Succeeded bool
	More      bool
	Count     int64
	KVs       []string
	Results   []shape
}

func shapeTheirs(r *clientv3.TxnResponse) shape {
	s := shape{Kind: "txn", Succeeded: r.Succeeded}
	for _, op := range r.Responses {
		var one shape
		switch {
		case op.GetResponseRange() != nil:
			get := (*clientv3.GetResponse)(op.GetResponseRange())
			one = shape{Kind: "get", More: get.More, Count: get.Count}
			for _, kv := range get.Kvs {
				one.KVs = append(one.KVs, fmt.Sprintf("%s=%s v%d", strings.TrimPrefix(string(kv.Key), them), kv.Value, kv.Version))
			}
		case op.GetResponsePut() != nil:
			one.Kind = "put"
			if kv := op.GetResponsePut().PrevKv; kv != nil {
				one.KVs = append(one.KVs, fmt.Sprintf("%s=%s v%d", strings.TrimPrefix(string(kv.Key), them), kv.Value, kv.Version))
			}
		case op.GetResponseDeleteRange() != nil:
			one = shape{Kind: "delete", Count: op.GetResponseDeleteRange().Deleted}
			for _, kv := range op.GetResponseDeleteRange().PrevKvs {
				one.KVs = append(one.KVs, fmt.Sprintf("%s=%s v%d", strings.TrimPrefix(string(kv.Key), them), kv.Value, kv.Version))
			}
		case op.GetResponseTxn() != nil:
			one = shapeTheirs((*clientv3.TxnResponse)(op.GetResponseTxn()))
		}
		s.Results = append(s.Results, one)
	}
	return s
}

func shapeOurs(t testing.TB, m map[string]any) shape {
	t.Helper()
	s := shape{Kind: "txn", Succeeded: m["succeeded"] == true}
	for _, result := range m["results"].([]any) {
		for kind, member := range result.(map[string]any) {
			r := member.(map[string]any)
			one := shape{Kind: kind, More: r["more"] == true}
			for _, name := range []string{"count", "deleted"} {
				if n, ok := r[name].(json.Number); ok {
					one.Count, _ = n.Int64()
				}
			}
			kvs, _ := r["kvs"].([]any)
			if prev, ok := r["prev_kvs"].([]any); ok {
				kvs = prev
			}
			if prev, ok := r["prev_kv"].(map[string]any); ok {
				kvs = []any{prev}
			}
			for _, item := range kvs {
				kv := item.(map[string]any)
				value, _ := kv["value"].(string)
				one.KVs = append(one.KVs, fmt.Sprintf("%s=%s v%v", strings.TrimPrefix(keyOf(t, kv), ours), value, kv["version"]))
			}
			if kind == "txn" {
				one = shapeOurs(t, r)
			}
			s.Results = append(s.Results, one)
		}
	}
	return s
}

// space lists the keys below a prefix with what must be the same in both spaces.
func space(t testing.TB, g *gateway, prefix string) (out []string) {
	t.Helper()
	all, err := g.oracle.Get(t.Context(), prefix, clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range all.Kvs {
		out = append(out, fmt.Sprintf("%s=%s v%d", strings.TrimPrefix(string(kv.Key), prefix), kv.Value, kv.Version))
	}
	return out
}
