package handlers

import (
	"math"
	"slices"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const (
	// maxTxnDepth is how deeply transactions may be nested in one another.
	maxTxnDepth = 64
	// maxTxnList is how long a list of a transaction may be before etcd is asked at all. How many operations are allowed is
	// etcd's own choice (128 by default), so etcd refuses them; this only keeps nonsense from being sent.
	maxTxnList = 10_000
	// maxTxnLeases is how many puts of a transaction may have a ttl: each is a lease, granted one after the other.
	maxTxnLeases = 16

	defaultTxnLimit = 1000
	maxTxnLimit     = 10_000
)

// txnDecoder reads the body of POST /v1/txn.
type txnDecoder struct {
	maxValueBytes int64
	leases        int
}

func (t *txnDecoder) decode(body []byte) (*transaction, error) {
	tx := new(transaction)
	return tx, kvjson.Decode(body, t.fields(tx, 1)...)
}

func (t *txnDecoder) fields(tx *transaction, depth int) []kvjson.Field {
	branch := func(name string, to *[]operation) kvjson.Field {
		return kvjson.Array(name, func(d *kvjson.Decoder) error {
			if err := bounded(d, len(*to)); err != nil {
				return err
			}
			o, err := t.operation(d, depth)
			*to = append(*to, o)
			return err
		})
	}
	return []kvjson.Field{
		kvjson.Array("if", func(d *kvjson.Decoder) error {
			if err := bounded(d, len(tx.when)); err != nil {
				return err
			}
			compare, err := t.compare(d)
			tx.when = append(tx.when, compare)
			return err
		}),
		branch("then", &tx.then),
		branch("else", &tx.otherwise),
	}
}

func bounded(d *kvjson.Decoder, n int) error {
	if n < maxTxnList {
		return nil
	}
	return problem.New(problem.TooManyOperations, "a list of a transaction may have at most %d entries", maxTxnList).
		With("limit", maxTxnList).AtPointer(d.Pointer(""))
}

// operation reads one entry of then or else: an object with exactly one of put, get, delete and txn.
func (t *txnDecoder) operation(d *kvjson.Decoder, depth int) (o operation, err error) {
	o.pointer = d.Pointer("")
	var put, get, del, txn bool
	err = d.Object(
		kvjson.Object("put", func(d *kvjson.Decoder) (err error) { o.put, err = t.put(d); return err }).Given(&put),
		kvjson.Object("get", func(d *kvjson.Decoder) (err error) { o.get, err = t.get(d); return err }).Given(&get),
		kvjson.Object("delete", func(d *kvjson.Decoder) (err error) { o.del, err = t.delete(d); return err }).Given(&del),
		kvjson.Object("txn", func(d *kvjson.Decoder) error {
			if depth == maxTxnDepth {
				return d.Invalid("", "transactions may be nested at most %d deep", maxTxnDepth)
			}
			o.txn = new(transaction)
			return d.Object(t.fields(o.txn, depth+1)...)
		}).Given(&txn),
	)
	if err == nil && count(put, get, del, txn) != 1 {
		err = d.Invalid("", "each operation is an object with exactly one of put, get, delete and txn")
	}
	return o, err
}

func (t *txnDecoder) put(d *kvjson.Decoder) (*txnPut, error) {
	p := new(txnPut)
	var key []byte
	var hasKey, prevKV bool
	fields := append(p.body.fields(t.maxValueBytes), kvjson.Bytes("key", &key).Given(&hasKey), kvjson.Bool("prev_kv", &prevKV))
	if err := d.Object(fields...); err != nil {
		return nil, err
	}
	if err := checkTxnKey(d, key, hasKey); err != nil {
		return nil, err
	}
	if err := p.body.check(); err != nil {
		return nil, under(d.Pointer(""), err)
	}
	if p.body.ttl > 0 {
		if t.leases++; t.leases > maxTxnLeases {
			return nil, d.Invalid("ttl", "at most %d puts of a transaction may have a ttl; grant a lease and name it in lease", maxTxnLeases)
		}
	}
	p.request = wire.PutRequest{
		Key: key, Value: p.body.value, Lease: p.body.lease, PrevKV: prevKV,
		IgnoreValue: p.body.ignoreValue, IgnoreLease: p.body.ignoreLease,
	}
	return p, nil
}

// checkTxnKey refuses what cannot be the key of a put, and the reserved keys everywhere.
func checkTxnKey(d *kvjson.Decoder, key []byte, given bool) error {
	switch {
	case !given:
		return d.Invalid("key", "give the key as key or key_base64")
	case len(key) == 0:
		return d.Invalid("key", "the key is empty; etcd has no empty keys")
	case key[0] == 0:
		return problem.From(keyrange.Reserved()).AtPointer(d.Pointer("key"))
	}
	return nil
}

// txnRange is how a condition, a get or a delete names its keys.
type txnRange struct {
	key, prefix, from, to             []byte
	hasKey, hasPrefix, hasFrom, hasTo bool
}

func (r *txnRange) fields(more ...kvjson.Field) []kvjson.Field {
	return append([]kvjson.Field{
		kvjson.Bytes("key", &r.key).Given(&r.hasKey),
		kvjson.Bytes("prefix", &r.prefix).Given(&r.hasPrefix),
		kvjson.Bytes("from", &r.from).Given(&r.hasFrom),
		kvjson.Bytes("to", &r.to).Given(&r.hasTo),
	}, more...)
}

// resolve gives etcd's key and end; whole says that nothing bounds the range.
func (r *txnRange) resolve(d *kvjson.Decoder) (key, end []byte, whole bool, err error) {
	switch n := count(r.hasKey, r.hasPrefix, r.hasFrom || r.hasTo); {
	case n == 0:
		return nil, nil, false, d.Invalid("", "name the keys by key, by prefix, or by from and to")
	case n > 1:
		return nil, nil, false, d.Invalid("", "name the keys by one of key, prefix, or from and to")
	case r.hasKey:
		return r.key, nil, false, checkTxnKey(d, r.key, true)
	}
	var found keyrange.Range
	member := "to"
	if r.hasPrefix {
		member = "prefix"
		found, err = keyrange.OfPrefix(r.prefix, false)
	} else {
		found, err = keyrange.Between(r.from, r.to, false)
	}
	if err != nil {
		return nil, nil, false, problem.From(err).AtPointer(d.Pointer(member))
	}
	return found.Start, found.End, found.Whole, nil
}

// compare reads one entry of if.
func (t *txnDecoder) compare(d *kvjson.Decoder) (c wire.Compare, err error) {
	var r txnRange
	var exists, hasValue, hasVersion, hasCreate, hasMod, hasLease, hasExists bool
	var version, create, mod, lease int64
	op := "eq"
	whole := func(name string, to *int64, given *bool) kvjson.Field {
		return kvjson.Int(name, to).Between(0, math.MaxInt64).Given(given)
	}
	err = d.Object(r.fields(
		kvjson.Text("op", &op).OneOf("eq", "ne", "lt", "gt"),
		kvjson.Value("value", &c.Value).Given(&hasValue),
		whole("version", &version, &hasVersion),
		whole("create_revision", &create, &hasCreate),
		whole("mod_revision", &mod, &hasMod),
		kvjson.ID("lease", &lease).Given(&hasLease),
		kvjson.Bool("exists", &exists).Given(&hasExists),
	)...)
	if err != nil {
		return c, err
	}
	if c.Key, c.End, _, err = r.resolve(d); err != nil {
		return c, err
	}
	if count(hasValue, hasVersion, hasCreate, hasMod, hasLease, hasExists) != 1 {
		return c, d.Invalid("", "a condition compares exactly one of value, version, create_revision, mod_revision, lease and exists")
	}
	c.Op = map[string]wire.CompareOp{"eq": wire.Equal, "ne": wire.NotEqual, "lt": wire.Less, "gt": wire.Greater}[op]
	switch {
	case hasValue:
		c.Target = wire.TargetValue
		if int64(len(c.Value)) > t.maxValueBytes {
			return c, valueTooLarge(t.maxValueBytes).AtPointer(d.Pointer("value"))
		}
	case hasVersion:
		c.Target, c.Number = wire.TargetVersion, version
	case hasCreate:
		c.Target, c.Number = wire.TargetCreateRevision, create
	case hasMod:
		c.Target, c.Number = wire.TargetModRevision, mod
	case hasLease:
		c.Target, c.Number = wire.TargetLease, lease
	case op != "eq":
		return c, d.Invalid("op", "exists takes no op but eq; say exists: false for the opposite")
	default:
		c.Target = wire.TargetCreateRevision
		if exists {
			c.Op = wire.NotEqual
		}
	}
	return c, nil
}

// get reads a get: one key, or a range with what a list takes.
func (t *txnDecoder) get(d *kvjson.Decoder) (*wire.RangeRequest, error) {
	var r txnRange
	g := new(wire.RangeRequest)
	orderBy, order := "key", "asc"
	revision := func(name string, to *int64) kvjson.Field { return kvjson.Int(name, to).Between(1, math.MaxInt64) }
	err := d.Object(r.fields(
		kvjson.Int("limit", &g.Limit).Between(1, maxTxnLimit),
		revision("revision", &g.Revision),
		kvjson.Bool("keys_only", &g.KeysOnly),
		kvjson.Bool("count_only", &g.CountOnly),
		kvjson.Text("order_by", &orderBy).OneOf(orders...),
		kvjson.Text("order", &order).OneOf("asc", "desc"),
		revision("min_mod_revision", &g.MinModRevision),
		revision("max_mod_revision", &g.MaxModRevision),
		revision("min_create_revision", &g.MinCreateRevision),
		revision("max_create_revision", &g.MaxCreateRevision),
	)...)
	if err != nil {
		return nil, err
	}
	if g.Key, g.End, _, err = r.resolve(d); err != nil {
		return nil, err
	}
	if g.Limit == 0 && g.End != nil {
		g.Limit = defaultTxnLimit
	}
	g.SortBy = wire.SortBy(slices.Index(orders, orderBy)) //nolint:gosec // one of five
	switch {
	case order == "desc":
		g.Order = wire.Descending
	case g.SortBy != wire.ByKey:
		g.Order = wire.Ascending
	}
	return g, nil
}

// orders are the words of order_by, in the order of etcd's numbers for them.
var orders = []string{"key", "version", "create_revision", "mod_revision", "value"}

// delete reads a delete.
func (t *txnDecoder) delete(d *kvjson.Decoder) (*wire.DeleteRequest, error) {
	var r txnRange
	var all bool
	del := new(wire.DeleteRequest)
	if err := d.Object(r.fields(kvjson.Bool("prev_kv", &del.PrevKV), kvjson.Bool("all", &all))...); err != nil {
		return nil, err
	}
	var whole bool
	var err error
	if del.Key, del.End, whole, err = r.resolve(d); err != nil {
		return nil, err
	}
	if whole && !all {
		return nil, d.Invalid("all", `a delete without a bound (an empty prefix, or no "to") needs "all": true`)
	}
	return del, nil
}
