package etcdclient

import (
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// Bounds is the range arithmetic of a namespace, which no answer of a server shows as exactly.
func Bounds(prefix, key, end []byte) (k, e []byte) {
	r, _ := namespace(prefix).rangeRequest(&wire.RangeRequest{Key: key, End: end})
	return r.Key, r.End
}

// NewBuffers makes a pool of messages' memory of the test's own.
func NewBuffers() mem.BufferPool { return new(bufferPool) }

// RangeLanes counts the ranges that are being read, and the callers that wait for another's call to return.
func RangeLanes(c *Client) (lanes, waiting int) {
	c.ranges.mu.Lock()
	defer c.ranges.mu.Unlock()
	for _, l := range c.ranges.lanes {
		l.mu.Lock()
		waiting += len(l.queue)
		l.mu.Unlock()
	}
	return len(c.ranges.lanes), waiting
}

// WaitingRenewals is how many renewals of a lease are waited for.
func WaitingRenewals(c *Client, id int64) int {
	s := c.keepAlives.streams[id&(leaseStreams-1)]
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.byID[id]; l != nil {
		return len(l.once)
	}
	return 0
}

// Inside puts a message into a namespace, Outside takes one out of it, and Successor is the first key behind it.
func Inside(prefix []byte, m proto.Message) (proto.Message, bool) {
	return namespace(prefix).request(m)
}

func Outside(prefix []byte, m proto.Message) bool { return namespace(prefix).answer(m) }

func Successor(prefix []byte) []byte { return namespace(prefix).successor() }
