package embedetcd

import (
	"context"
	"time"
)

// TestingT is the part of testing.TB that StartForTest needs.
type TestingT interface {
	Helper()
	TempDir() string
	Context() context.Context
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// StartForTest runs a fast server for the length of a test, in a folder of its own, on a free port.
func StartForTest(t TestingT, adjust ...func(*Options)) *Server {
	t.Helper()
	o := Options{Dir: t.TempDir(), Fast: true}
	for _, f := range adjust {
		f(&o)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatalf("embedded etcd: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}
