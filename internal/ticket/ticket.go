// Package ticket makes tickets: what stands in a URL for the credentials of a caller who cannot send a header, once.
//
// A ticket is 32 random bytes. etcd keeps its hash, and under that what it stands for, sealed by a key that only the ticket
// gives: who reads etcd's data learns nothing. Whoever redeems it first, on any gateway, has it; one transaction decides.
package ticket

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/etcdrest/etcdrest/internal/authn"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

const (
	// Life is how long a ticket is good for before its first use.
	Life = 30 * time.Second
	// leaseTTL outlives that, in seconds: a change of etcd's leader extends leases, so a record has its own end.
	leaseTTL = 60
	// size is that of a ticket, in bytes; in base64url without padding it has textSize.
	size     = 32
	textSize = 43

	prefix = wire.StatePrefix + "t/"
)

// Store is what tickets need of etcd, as the gateway itself; *etcdclient.Client satisfies it.
type Store interface {
	Range(ctx context.Context, r *wire.RangeRequest) (*wire.RangeResponse, error)
	Txn(ctx context.Context, r *wire.TxnRequest) (*wire.TxnResponse, error)
	LeaseGrant(ctx context.Context, ttl, id int64) (etcdclient.Lease, error)
	LeaseKeepAliveOnce(ctx context.Context, id int64) (ttl int64, err error)
	KeepAlive(lease, ttl int64, k etcdclient.Keeper) *etcdclient.KeepAlive
	Changed(ctx context.Context, key, end []byte, from int64) error
}

// Keeper issues tickets and takes them. It is safe for concurrent use.
type Keeper struct {
	store Store
	now   func() time.Time
}

// New makes a keeper.
func New(store Store) *Keeper { return &Keeper{store: store, now: time.Now} }

// Use is a request that shows a ticket.
type Use struct {
	// Path is the escaped path, Query the rest but for the ticket.
	Path, Query string
	// Origin is the header of that name, empty for none.
	Origin string
	// Resumes says that an EventSource has lost its connection, and comes back.
	Resumes bool
}

// url is the hash of path and query, which may name keys.
func (u *Use) url() []byte {
	sum := sha256.Sum256([]byte(u.Path + "?" + u.Query))
	return sum[:]
}

// claim is what a ticket stands for. It is stored sealed.
type claim struct {
	Path      string          `json:"path"`
	Origin    string          `json:"origin,omitempty"`
	Expires   time.Time       `json:"expires"`
	Principal authn.Principal `json:"principal"`
}

// record is what etcd keeps under the hash of a ticket.
type record struct {
	Sealed []byte `json:"sealed"`
	// Stream is of a ticket that an EventSource has used; nil before.
	Stream *streamState `json:"stream,omitempty"`
}

// Issue makes a ticket for requests of one path by the principal. When the gateway cannot keep state in etcd the error is
// not_supported.
func (k *Keeper) Issue(ctx context.Context, p *authn.Principal, path, origin string) (text string, expires time.Time, err error) {
	expires = k.now().Add(Life)
	if !p.Expires.IsZero() && p.Expires.Before(expires) {
		expires = p.Expires
	}
	var secret [size]byte
	_, _ = rand.Read(secret[:]) // never fails (crypto/rand)
	key := keyOf(secret[:])
	sealed, err := seal(secret[:], key, &claim{Path: path, Origin: origin, Expires: expires, Principal: *p})
	if err != nil {
		return "", expires, err
	}
	value, err := json.Marshal(&record{Sealed: sealed})
	if err != nil {
		return "", expires, err
	}
	lease, err := k.store.LeaseGrant(ctx, leaseTTL, 0)
	if err == nil {
		_, err = k.store.Txn(ctx, &wire.TxnRequest{Then: []wire.Op{{Put: &wire.PutRequest{Key: key, Value: value, Lease: lease.ID}}}})
	}
	return base64.RawURLEncoding.EncodeToString(secret[:]), expires, unkept(err)
}

// unkept tells that etcd does not let the gateway keep its state.
func unkept(err error) error {
	e := problem.From(err)
	if e == nil || e.Code != problem.PermissionDenied && e.Code != problem.Unauthenticated && e.Code != problem.InvalidArgument {
		return err
	}
	return problem.New(problem.NotSupported, "the gateway's etcd user may not write the state that tickets need").
		WithHint("the operator gives it read and write on the keys that begin with \\0etcdrest/").Because(err)
}

// Redeem takes a ticket for one request: nobody can use it again. The error is unauthenticated for one that is not good.
func (k *Keeper) Redeem(ctx context.Context, text string, use Use) (*authn.Principal, error) {
	f, err := k.find(ctx, text, use)
	if err != nil {
		return nil, err
	}
	if f.record.Stream != nil {
		return nil, refused()
	}
	won, err := k.write(ctx, f, wire.Op{Delete: &wire.DeleteRequest{Key: f.key}})
	if err != nil {
		return nil, err
	}
	if won == 0 {
		return nil, refused()
	}
	return &f.claim.Principal, nil
}

// found is a ticket's record.
type found struct {
	key         []byte
	modRevision int64
	lease       int64
	record      record
	claim       claim
}

// find reads a ticket's record, and refuses it when it is not for the request, or not any more.
func (k *Keeper) find(ctx context.Context, text string, use Use) (*found, error) {
	secret, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(text) != textSize {
		return nil, refused()
	}
	f := &found{key: keyOf(secret)}
	answer, err := k.store.Range(ctx, &wire.RangeRequest{Key: f.key})
	if err != nil {
		return nil, unkept(err)
	}
	defer answer.Free()
	if kv, there := answer.KVs.First(); there {
		f.modRevision, f.lease = kv.ModRevision, kv.Lease
		if json.Unmarshal(kv.Value, &f.record) != nil || open(secret, f.key, f.record.Sealed, &f.claim) != nil {
			return nil, refused()
		}
	}
	c := &f.claim
	switch {
	case f.modRevision == 0, c.Path != use.Path, c.Origin != "" && use.Origin != "" && c.Origin != use.Origin,
		f.record.Stream == nil && !k.now().Before(c.Expires):
		return nil, refused()
	}
	return f, nil
}

// write does something with the record unless it has changed since it was found; it gives the revision, 0 when it has.
func (k *Keeper) write(ctx context.Context, f *found, op wire.Op) (int64, error) {
	answer, err := k.store.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{{Key: f.key, Target: wire.TargetModRevision, Op: wire.Equal, Number: f.modRevision}},
		Then: []wire.Op{op},
	})
	if err != nil {
		return 0, unkept(err)
	}
	defer answer.Free()
	if !answer.Succeeded {
		return 0, nil
	}
	return answer.Header.Revision, nil
}

// refused is the answer to every ticket that is not good, whatever the reason: nobody learns which were good once.
func refused() *problem.Error {
	return problem.New(problem.Unauthenticated, "the ticket is not good: it is for another path, was used, or its time is over").
		WithHint("get a new one with POST /v1/auth/tickets").AtParameter("ticket")
}

func keyOf(secret []byte) []byte {
	sum := sha256.Sum256(secret)
	return hex.AppendEncode([]byte(prefix), sum[:])
}

// sealer makes the cipher of one ticket. Its key is used for one or two messages, so random nonces will do.
func sealer(secret []byte) (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, secret, nil, "etcdrest ticket", size)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

func seal(secret, key []byte, c *claim) ([]byte, error) {
	text, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	aead, err := sealer(secret)
	if err != nil {
		return nil, err
	}
	return aead.Seal(nil, nil, text, key), nil //nolint:gosec // the cipher draws the nonce, and puts it in front
}

func open(secret, key, sealed []byte, c *claim) error {
	aead, err := sealer(secret)
	if err != nil {
		return err
	}
	text, err := aead.Open(nil, nil, sealed, key)
	if err != nil {
		return err
	}
	return decode(text, c)
}
