// Package etcdclient is etcd in the gateway's words: one client over a pool of connections, with retries that never write
// twice, identities, namespaces, metrics, and one typed error.
//
// Range, Put, DeleteRange and Txn speak the views of package wire, bytes in and bytes out. A Client is also a
// grpc.ClientConnInterface, so that every other RPC of etcd is reached through its generated client, over the same pool
// and with the same errors.
package etcdclient

import (
	"context"
	"crypto/sha256"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Client talks to one etcd cluster. Make it with New and Close it; it is safe for concurrent use. Its errors are *Error.
//
// A call without a deadline waits as long as etcd takes, but no longer than Config.DialTimeout for a connection.
type Client struct {
	pool     *pool
	identity *identity
	// nobody is the identity of calls that bring a token of their own.
	nobody  *identity
	budget  *budget
	metrics *metrics
	// fits narrows the connections that this view of the client uses; nil is all.
	fits func(*conn) bool
	// lanes gather reads of single keys: linearizable ones, and serializable ones; ranges gathers reads of the same range.
	// They are nil when that is off.
	lanes      [2]*lane
	ranges     *ranges
	watches    *watches
	keepAlives *keepAlives
	// views are the other identities over the same pool.
	views *views
}

var _ grpc.ClientConnInterface = (*Client)(nil)

// New makes a client. It never blocks: connecting goes on in the background, and WaitReady waits for it. It reports every
// fault of the configuration at once.
func New(config Config) (*Client, error) {
	config, err := config.withDefaults()
	endpoints, err2 := parseEndpoints(config.Endpoints, config.TLS)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	p, err := newPool(config, endpoints)
	if err != nil {
		return nil, err
	}
	root := &Client{pool: p, nobody: fixedIdentity(""), budget: newBudget(config.RetryBudget), metrics: newMetrics(p), views: &views{of: make(map[[sha256.Size]byte]*view)}}
	if config.Username == "" {
		return root.withToken(config.Token), nil
	}
	return root.withUser(config.Username, config.Password), nil
}

// withUser and withToken give the client another identity, over the same connections.
func (c *Client) withUser(name, password string) *Client {
	return c.as(&identity{
		name: name, password: password, authenticate: c.asNobody().authenticate,
		run: c.pool.run, refreshed: c.metrics.refreshed, log: c.pool.config.Logger,
	})
}

func (c *Client) withToken(token string) *Client { return c.as(fixedIdentity(token)) }

func (c *Client) as(id *identity) *Client {
	v := &Client{pool: c.pool, nobody: c.nobody, budget: c.budget, metrics: c.metrics, views: c.views, identity: id}
	v.watches, v.keepAlives = newWatches(v), newKeepAlives(v)
	if !v.pool.config.DisableCoalescing {
		v.lanes = [2]*lane{newLane(v), newLane(v)}
		v.ranges = newRanges(v)
	}
	return v
}

// lane gives the lane of a read, nil when it goes by itself.
func (c *Client) lane(r *wire.RangeRequest) *lane {
	if c.fits != nil || !fitsLane(r) {
		return nil
	}
	if r.Serializable {
		return c.lanes[1]
	}
	return c.lanes[0]
}

// authTimeout bounds one authentication: etcd hashes the password and asks its quorum.
const authTimeout = 10 * time.Second

func (c *Client) authenticate(ctx context.Context, name, password string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, authTimeout)
	defer cancel()
	r, err := pb.NewAuthClient(c).Authenticate(ctx, &pb.AuthenticateRequest{Name: name, Password: password})
	return r.GetToken(), err
}

// WaitReady returns when a member has answered, or with the last connection error when ctx ends first.
func (c *Client) WaitReady(ctx context.Context) error {
	for {
		change := c.pool.change()
		for _, n := range c.pool.conns[classUnary] {
			if n.usable() {
				return nil
			}
		}
		select {
		case <-change:
		case <-c.pool.done:
			return errClosed(methodStatus)
		case <-ctx.Done():
			return ended(methodStatus, ctx.Err(), false, "no member of etcd is ready", c.pool.lastError())
		}
	}
}

// Close ends every call and stream and waits for the client's goroutines. Closing twice is harmless.
func (c *Client) Close() error {
	c.pool.close()
	return nil
}

// Endpoints are the configured endpoints, in their order.
func (c *Client) Endpoints() []string { return append([]string(nil), c.pool.config.Endpoints...) }

// Invoke makes a unary call, for the generated clients; request and answer are protobuf messages. A token in the outgoing
// metadata of ctx (token or authorization) is the caller's own: the call shows that one and not the client's.
func (c *Client) Invoke(ctx context.Context, full string, request, answer any, opts ...grpc.CallOption) error {
	if r, ok := changesDowngrade(request); ok {
		return c.changeDowngrade(ctx, full, r, answer, opts)
	}
	return c.invoke(ctx, full, request, answer, opts)
}

func (c *Client) invoke(ctx context.Context, full string, request, answer any, opts []grpc.CallOption) error {
	m := lookup(full, request)
	message, ok := request.(proto.Message)
	if !ok {
		return errArgument(m, "the request is not a protobuf message")
	}
	if c.looks(ctx) {
		if done, err := c.invokeLooking(ctx, m, message, answer, opts); done {
			return err
		}
	}
	_, err := audited(ctx, c, m, request, func() (any, error) { return answer, c.send(ctx, m, message, answer, opts) })
	return err
}

func (c *Client) send(ctx context.Context, m *method, request proto.Message, answer any, opts []grpc.CallOption) error {
	f, err := encodeMessage(request)
	if err != nil {
		return errArgument(m, "the request cannot be encoded: "+err.Error())
	}
	defer f.free()
	return c.unary(ctx, m, &f, answer, f.len(), opts)
}

// encodeMessage encodes before anything is sent, so that neither size nor content can fail half way.
func encodeMessage(m proto.Message) (frame, error) {
	b := buffers.Get(max(proto.Size(m), smallFrame))
	encoded, err := proto.MarshalOptions{}.MarshalAppend((*b)[:0], m)
	if err != nil {
		buffers.Put(b)
		return frame{}, err
	}
	*b = encoded
	return frame{buffer: mem.NewBuffer(b, buffers)}, nil
}

func headerOf(h *pb.ResponseHeader) wire.Header {
	return wire.Header{ClusterID: h.GetClusterId(), MemberID: h.GetMemberId(), Revision: h.GetRevision(), RaftTerm: h.GetRaftTerm()}
}
