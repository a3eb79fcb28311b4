package etcdclient_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// BenchmarkRangeOneKey reads keys of 256 B by many goroutines, through this client, with and without coalescing, and
// through etcd's own.
func BenchmarkRangeOneKey(b *testing.B) {
	s := embedetcd.StartForTest(b)
	const keys = 1000
	ours := ready(b, []string{s.Endpoint()})
	alone := ready(b, []string{s.Endpoint()}, func(c *etcdclient.Config) { c.DisableCoalescing = true })
	theirs := official(b, clientv3.Config{Endpoints: []string{s.Endpoint()}})
	name := func(i int) string { return fmt.Sprintf("bench/%d", i) }
	for i := range keys {
		put(b, ours, name(i), strings.Repeat("x", 256))
	}
	for _, way := range []struct {
		name string
		read func(key string) error
	}{
		{"client=ours", func(key string) error { return readOne(b, ours, key) }},
		{"client=ours,coalescing=off", func(key string) error { return readOne(b, alone, key) }},
		{"client=official", func(key string) error {
			_, err := theirs.Get(b.Context(), key)
			return err
		}},
	} {
		b.Run(way.name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(32)
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := way.read(name(rand.IntN(keys))); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func readOne(b *testing.B, c *etcdclient.Client, key string) error {
	b.Helper()
	r, err := c.Range(b.Context(), &wire.RangeRequest{Key: []byte(key)})
	if err == nil {
		r.Free()
	}
	return err
}

// BenchmarkRangeThousandKeys lists 1,000 keys of 256 B.
func BenchmarkRangeThousandKeys(b *testing.B) {
	s := embedetcd.StartForTest(b)
	ours := ready(b, []string{s.Endpoint()})
	value := make([]byte, 256)
	for i := range 1000 {
		put(b, ours, "bench/"+string(rune('a'+i/100))+string(rune('0'+i/10%10))+string(rune('0'+i%10)), string(value))
	}
	b.Run("client=ours", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r, err := ours.Range(b.Context(), &wire.RangeRequest{Key: []byte("bench/"), End: []byte("bench0")})
			if err != nil || r.KVs.Len() != 1000 {
				b.Fatal(err)
			}
			r.Free()
		}
	})
	b.Run("client=official", func(b *testing.B) {
		theirs := official(b, clientv3.Config{Endpoints: []string{s.Endpoint()}})
		b.ReportAllocs()
		for b.Loop() {
			if r, err := theirs.Get(b.Context(), "bench/", clientv3.WithPrefix()); err != nil || len(r.Kvs) != 1000 {
				b.Fatal(err)
			}
		}
	})
}
