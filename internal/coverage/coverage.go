// Package coverage is for tests only: it calls every RPC of etcd through the gateway, natively and through /v3, sees what
// etcd is asked for it, and makes docs/reference/coverage.md of that.
package coverage

//go:generate go test -run=TestGenerated . -update
