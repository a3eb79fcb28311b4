package embedetcd_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/etcdrest/etcdrest/internal/leak"
)

func TestMain(m *testing.M) {
	// A damaged database ends the goroutine that etcd's bootstrap waits for.
	leak.Main(m, goleak.IgnoreTopFunction("go.etcd.io/etcd/server/v3/storage.OpenBackend"))
}
