// Package attack_test attacks the built gateway as a stranger, a careless tenant or a hostile one would, from outside: a
// real etcd behind it, a real issuer beside it, and three tenants and an operator in its policy.
package attack_test

import (
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
)

func TestMain(m *testing.M) { harness.Main(m, "hammer") }
