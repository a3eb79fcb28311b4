package coverage_test

import (
	"testing"

	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/leak"
)

func TestMain(m *testing.M) {
	compat.QuietLibraries()
	leak.Main(m, leak.Observers...)
}
