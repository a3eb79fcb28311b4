package etcdclient

import (
	"math/bits"
	"sync"

	"google.golang.org/grpc/mem"
)

// bufferPool recycles the memory of messages, by powers of two. gRPC's own pool clears each buffer to its whole capacity
// before it gives it out, which for a list of 300 KB is more than a megabyte; here a buffer has what its last user left, and
// whoever takes one must write all of it before reading any. The zero value is ready, and safe for concurrent use.
type bufferPool struct {
	tiers [mostBufferBits - leastBufferBits + 1]sync.Pool
}

const (
	leastBufferBits = 12
	// mostBufferBits bounds what is kept: larger messages are rare, and their memory is the collector's.
	mostBufferBits = 22
)

// buffers are shared by all clients of the process, as gRPC's default pool is.
var buffers mem.BufferPool = new(bufferPool)

// Get gives a buffer of that length.
func (p *bufferPool) Get(length int) *[]byte {
	size := max(bits.Len(uint(max(length, 1)-1)), leastBufferBits)
	if size > mostBufferBits {
		b := make([]byte, length)
		return &b
	}
	b, ok := p.tiers[size-leastBufferBits].Get().(*[]byte)
	if !ok {
		fresh := make([]byte, 1<<size)
		b = &fresh
	}
	*b = (*b)[:length]
	return b
}

// Put takes a buffer back. One that has grown in other hands serves the largest length that it has room for.
func (p *bufferPool) Put(b *[]byte) {
	size := bits.Len(uint(cap(*b))) - 1
	if size >= leastBufferBits && size <= mostBufferBits {
		p.tiers[size-leastBufferBits].Put(b)
	}
}
