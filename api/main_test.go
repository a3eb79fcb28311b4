package api_test

import (
	"testing"

	"github.com/etcdrest/etcdrest/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }
