package etcdclient_test

import (
	"testing"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// TestBuffersHaveTheLengthAskedFor also after memory came back that others have grown or cut.
func TestBuffersHaveTheLengthAskedFor(t *testing.T) {
	t.Parallel()
	pool := etcdclient.NewBuffers()
	for _, room := range []int{0, 100, 5000, 1<<20 - 1, 5 << 20} {
		returned := make([]byte, room)
		pool.Put(&returned)
		for _, length := range []int{0, 1, 4096, 4097, 5000, 1<<20 - 1, 1 << 20, 1 << 22, 1<<22 + 1} {
			b := pool.Get(length)
			if len(*b) != length {
				t.Errorf("a buffer of %d bytes has %d", length, len(*b))
			}
			pool.Put(b)
		}
	}
}
