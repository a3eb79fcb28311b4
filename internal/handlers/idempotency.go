package handlers

import (
	"bytes"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// An Idempotency-Key makes a write happen once: the same key and request within a day gets the first outcome and writes
// nothing, on any gateway and after any restart. The outcome is a record in etcd, written by the very transaction that
// writes (commit.go). What wrote nothing leaves no record, so it can be tried again with the same key.

const (
	recordPrefix = wire.StatePrefix + "i/"

	// recordLife is how long an outcome is kept. The record's expires_at decides, not its lease, which a change of leader
	// extends.
	recordLife = 24 * time.Hour
	// maxKeptAnswer is the largest answer that is kept whole.
	maxKeptAnswer = 64 << 10
	keepTimeout   = 2 * time.Second
	// inProgressRetry is how soon a repeat may find the first request finished.
	inProgressRetry = 200 * time.Millisecond

	maxIdempotencyKey = 128
)

// record is what etcd keeps of an outcome. The revision of the write is the record's create revision.
type record struct {
	// Request is the hash of the request (see requestHash).
	Request string `json:"request"`
	// Branch is the branch of the plan that ran.
	Branch int `json:"branch"`
	// ExpiresAt is in seconds since 1970.
	ExpiresAt int64 `json:"expires_at"`
	// Lease and TTL are those of the lease that was granted for the write.
	Lease int64 `json:"lease,omitempty"`
	TTL   int64 `json:"ttl,omitempty"`
	// Token is the fencing token of the place that was taken in a queue.
	Token int64 `json:"token,omitempty"`
	// Reserved says that it is not known to be done yet (reservation.go). Until is when a call that is asked for only once has
	// ended, in seconds since 1970; Unknown says that it has, without an answer.
	Reserved bool  `json:"reserved,omitempty"`
	Until    int64 `json:"until,omitempty"`
	Unknown  bool  `json:"unknown,omitempty"`
	// Response is the full answer, added after the write.
	Response *response `json:"response,omitempty"`
}

type response struct {
	Status   int    `json:"status"`
	Revision int64  `json:"revision"`
	Tag      int64  `json:"tag,omitempty"`
	Location string `json:"location,omitempty"`
	Body     []byte `json:"body"`
}

func (r *record) encode() ([]byte, error) { return json.Marshal(r) }

// claim is a call's hold on its Idempotency-Key.
type claim struct {
	// key is the record's.
	key     []byte
	request string
	expires int64
	// held is the mod revision of the reservation that the call holds, 0 without one; resumed is that of an earlier request
	// which the call goes on with; lease is the one that the reservation is of.
	held    int64
	resumed *record
	lease   int64
}

// record makes the record of one branch.
func (k *claim) record(branch int, lease etcdclient.Lease) *record {
	return &record{Request: k.request, Branch: branch, ExpiresAt: k.expires, Lease: lease.ID, TTL: lease.TTL}
}

// recorded is the plan with the record put at the end of each branch.
func (k *claim) recorded(p *plan, lease int64) (*plan, error) {
	out := *p
	branches := 1
	if p.decided() {
		branches = 2
	}
	for i := range branches {
		value, err := k.record(i, p.lease).encode()
		if err != nil {
			return nil, err
		}
		put := &wire.PutRequest{Key: k.key, Value: value, Lease: lease}
		out.branches[i] = append(slices.Clone(p.branches[i]), wire.Op{Put: put})
	}
	return &out, nil
}

// once begins a call with an Idempotency-Key. When done is true the call is answered: it is a repeat. The caller must call
// release, which is never nil, at the end of the call.
func (c *call) once() (done bool, release func(), err error) {
	release = func() {}
	values := c.r.Header["Idempotency-Key"]
	if len(values) == 0 || !strings.HasPrefix(c.route.pattern, "/v1/") || c.r.Method == http.MethodOptions {
		return false, release, nil
	}
	if c.route.follows == nil {
		return false, release, problem.New(problem.InvalidParameter,
			"this call takes no Idempotency-Key; PUT, PATCH and DELETE of keys do, and POST of transactions, leases, locks, elections, members, users and roles").
			AtParameter("Idempotency-Key")
	}
	if len(values) > 1 || len(values[0]) > maxIdempotencyKey || !plainID(values[0]) {
		return false, release, problem.New(problem.InvalidParameter,
			"Idempotency-Key must be given once, as 1 to %d visible ASCII characters", maxIdempotencyKey).AtParameter("Idempotency-Key")
	}
	digest, err := c.bodyDigest()
	if err != nil {
		return false, release, err
	}
	c.claim = &claim{key: recordKey(c.principal(), c.namespace(), values[0]), expires: time.Now().Add(recordLife).Unix()}
	if !c.api.records.enter(c.claim.key) {
		return false, release, inProgress()
	}
	key := c.claim.key
	release = func() { c.api.records.leave(key) }
	c.claim.request = c.requestHash(digest) // which can take its time
	done, err = c.findRecord()
	return done, release, err
}

// principal and namespace keep the keys of different callers apart.
func (c *call) principal() string {
	if c.caller == nil {
		return ""
	}
	return c.caller.ID()
}

func (c *call) namespace() string {
	if c.caller == nil {
		return ""
	}
	return string(c.caller.Namespace)
}

func recordKey(principal, namespace, key string) []byte {
	var h parameterHash
	h.bytes([]byte(principal))
	h.bytes([]byte(namespace))
	h.bytes([]byte(key))
	sum := sha256.Sum256(h.buffer)
	return hex.AppendEncode([]byte(recordPrefix), sum[:])
}

// bodyDigest reads the body, so that the handler reads it again from memory, and gives its digest.
func (c *call) bodyDigest() (digest [sha256.Size]byte, err error) {
	limit := c.api.options.MaxBodyBytes
	if c.route.operation == "putRaw" {
		limit = c.api.options.MaxValueBytes
	}
	body, err := c.readAll(limit)
	if err != nil {
		return digest, err
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	return sha256.Sum256(body), nil
}

// requestHash tells requests apart: by method, path, query without regard to order, and body. The headers that change
// what a write means count as the parameters that say the same do: the conditions, and the kind of a patch.
func (c *call) requestHash(body [sha256.Size]byte) string {
	var h parameterHash
	h.bytes([]byte(c.r.Method))
	h.bytes([]byte(c.r.URL.Path))
	pairs := slices.DeleteFunc(c.query.Pairs(), func(p [2]string) bool {
		return p[0] == "timeout" // how long the caller waits is not what it asks for
	})
	h.number(int64(len(pairs)))
	for _, p := range pairs {
		h.bytes([]byte(p[0]))
		h.bytes([]byte(p[1]))
	}
	h.bytes(body[:])
	headers := []string{"If-Match", "If-None-Match"}
	if c.r.Method == http.MethodPatch {
		headers = append(headers, "Content-Type")
	}
	for _, name := range headers {
		h.bytes([]byte(strings.Join(c.r.Header[name], ",")))
	}
	sum := sha256.Sum256(binary.AppendUvarint(h.buffer, uint64(len(headers))))
	if c.route.secret {
		return c.slowHash(sum)
	}
	return hex.EncodeToString(sum[:])
}

// slowRounds make a guess at a password as dear as etcd's own hash of it does (OWASP's number for PBKDF2 with SHA-512).
const slowRounds = 210_000

// slowHash hashes a request that holds a password: who may read the records must not find it by guessing.
func (c *call) slowHash(sum [sha256.Size]byte) string {
	key, err := pbkdf2.Key(sha512.New, string(sum[:]), c.claim.key, slowRounds, sha256.Size)
	if err != nil { // only for sizes that make no sense
		return ""
	}
	return hex.EncodeToString(key)
}

// findRecord looks for the record before the handler runs, so that a repeat is answered whatever has become of the key,
// and grants no lease. The transaction decides all the same.
func (c *call) findRecord() (replayed bool, err error) {
	answer, err := c.store.Range(c.ctx(), &wire.RangeRequest{Key: c.claim.key})
	if err != nil {
		if problem.From(err).Code == problem.PermissionDenied {
			return false, c.recordsUnavailable().Because(err)
		}
		return false, c.notApplied(err)
	}
	defer answer.Free()
	kv, ok := answer.KVs.First()
	if !ok {
		return false, nil
	}
	if r, err := parseRecord(kv); err == nil && r.ExpiresAt <= time.Now().Unix() {
		return false, c.forget(kv)
	}
	return c.repeat(kv)
}

// forget deletes an expired record. It must be gone, rather than overwritten, because the create revision of a record is
// the revision of its write.
func (c *call) forget(kv wire.KeyValue) error {
	_, err := c.store.Txn(c.ctx(), &wire.TxnRequest{
		If:   []wire.Compare{{Key: c.claim.key, Target: wire.TargetModRevision, Number: kv.ModRevision}},
		Then: []wire.Op{{Delete: &wire.DeleteRequest{Key: c.claim.key}}},
	})
	if err == nil {
		return nil
	}
	if problem.From(err).Code == problem.PermissionDenied {
		return c.recordsUnavailable().Because(err)
	}
	return c.notApplied(err)
}

func parseRecord(kv wire.KeyValue) (*record, error) {
	r := new(record)
	if err := json.Unmarshal(kv.Value, r); err != nil {
		return nil, problem.New(problem.UpstreamCorrupt, "the record of this Idempotency-Key cannot be read").
			WithOutcome(problem.NotApplied).Because(err)
	}
	return r, nil
}

// repeat answers a repeat from the record of the first request, or has the call go on with what that one has reserved.
func (c *call) repeat(kv wire.KeyValue) (answered bool, err error) {
	r, err := c.sameRequest(kv)
	switch {
	case err != nil:
		return true, err
	case r.Reserved && c.route.resumes:
		return false, c.takeOver(kv, r)
	}
	return true, c.replay(kv, r)
}

// sameRequest reads a record, and refuses one of another request.
func (c *call) sameRequest(kv wire.KeyValue) (*record, error) {
	r, err := parseRecord(kv)
	if err == nil && r.Request != c.claim.request {
		err = problem.New(problem.IdempotencyKeyReused, "this Idempotency-Key was used for another request within the last 24 hours").
			AtParameter("Idempotency-Key")
	}
	return r, err
}

// replay answers with the outcome that a record keeps. Nothing was written for this request.
func (c *call) replay(kv wire.KeyValue, r *record) error {
	c.revision = kv.CreateRevision
	if r.Response == nil {
		err := c.route.follows(c, r)
		if err == nil || problem.From(err).Code != problem.IdempotencyInProgress {
			set(c.w.Header(), "Idempotency-Replayed", "true")
		}
		return err
	}
	set(c.w.Header(), "Idempotency-Replayed", "true")
	if r.Response.Location != "" {
		set(c.w.Header(), "Location", r.Response.Location)
	}
	c.status, c.revision, c.etag = r.Response.Status, r.Response.Revision, r.Response.Tag
	c.body = append(c.body[:0], r.Response.Body...)
	return nil
}
