package embedetcd_test

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

func TestDataOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 2 {
		started := time.Now()
		s, err := embedetcd.Start(t.Context(), embedetcd.Options{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("round %d: ready after %v", round, time.Since(started))
		c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}})
		if err != nil {
			t.Fatal(err)
		}
		if round == 0 {
			if _, err := c.Put(t.Context(), "k", "v"); err != nil {
				t.Fatal(err)
			}
		} else {
			r, err := c.Get(t.Context(), "k")
			if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "v" {
				t.Fatalf("after the restart: got %v, %v; want the value v", r, err)
			}
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		s.Close()
	}
}

func TestStartForTestIsFast(t *testing.T) {
	t.Parallel()
	started := time.Now()
	s := embedetcd.StartForTest(t)
	t.Logf("ready after %v at %s", time.Since(started), s.Endpoint())
}
