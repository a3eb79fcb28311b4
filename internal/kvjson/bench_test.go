package kvjson_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// values make the i-th value of 256 bytes of a kind of content.
var values = []struct {
	name string
	make func(i int) []byte
}{
	{"text", func(i int) []byte {
		return []byte(strings.Repeat(fmt.Sprintf("a plain value, number %08d; ", i), 8))[:256]
	}},
	{"json", func(i int) []byte {
		const format = `{"name":"service","n":%d,"tags":["a","b","c"],"nested":{"on":true,"ratio":0.25},"pad":"%s"}`
		return fmt.Appendf(nil, format, i, strings.Repeat("p", 256-len(fmt.Sprintf(format, i, ""))))
	}},
	{"utf8", func(i int) []byte {
		return []byte(fmt.Sprintf("%04d", i%10000) + strings.Repeat("値は日本語です", 12))
	}},
	{"binary", func(i int) []byte {
		b := make([]byte, 256)
		r := rand.New(rand.NewPCG(1, uint64(i)))
		for j := range b {
			b[j] = byte(r.Uint32())
		}
		return b
	}},
}

// rangeOf is etcd's answer to a list of n keys.
func rangeOf(n int, value func(int) []byte) *etcdserverpb.RangeResponse {
	r := &etcdserverpb.RangeResponse{
		Header: &etcdserverpb.ResponseHeader{ClusterId: 14841639068965178418, MemberId: 10276657743932975437, Revision: 1_234_567, RaftTerm: 7},
		More:   true, Count: int64(10 * n),
	}
	for i := range n {
		r.Kvs = append(r.Kvs, &mvccpb.KeyValue{
			Key: fmt.Appendf(nil, "/registry/services/endpoints/%08d", i), Value: value(i),
			CreateRevision: int64(100_000 + i), ModRevision: int64(1_000_000 + i), Version: int64(1 + i%9),
		})
	}
	return r
}

func BenchmarkEncodeRange(b *testing.B) {
	for _, v := range values {
		message := rangeOf(1000, v.make)
		body, err := proto.Marshal(message)
		if err != nil {
			b.Fatal(err)
		}
		for _, e := range []kvjson.Encoding{kvjson.Auto, kvjson.Base64, kvjson.JSON} {
			b.Run(v.name+"/"+e.String(), func(b *testing.B) {
				var buffer []byte
				b.ReportAllocs()
				for b.Loop() {
					r, err := wire.ParseRange(body, nil)
					if err != nil {
						b.Fatal(err)
					}
					buffer = append(buffer[:0], '{')
					buffer = kvjson.AppendRange(buffer, &r, kvjson.Options{Encoding: e})
					buffer = append(buffer, '}')
				}
				b.SetBytes(int64(len(buffer)))
			})
		}
		b.Run(v.name+"/proto.Unmarshal+encoding/json", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var r etcdserverpb.RangeResponse
				if err := proto.Unmarshal(body, &r); err != nil {
					b.Fatal(err)
				}
				if _, err := json.Marshal(&r); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(v.name+"/proto.Unmarshal+protojson", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				var r etcdserverpb.RangeResponse
				if err := proto.Unmarshal(body, &r); err != nil {
					b.Fatal(err)
				}
				if _, err := protojson.Marshal(&r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkParseRange(b *testing.B) {
	body, err := proto.Marshal(rangeOf(1000, values[0].make))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := wire.ParseRange(body, nil); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodePut(b *testing.B) {
	for _, v := range values[:3] {
		body := kvjson.AppendValue([]byte("{"), v.make(7), kvjson.Auto)
		body = append(body, `,"lease":"7587862094dabc0f","prev_kv":true}`...)
		b.Run(v.name, func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := decodePut(body); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run(v.name+"/encoding/json", func(b *testing.B) {
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				var p struct {
					Value  *string
					Lease  string
					PrevKV bool
				}
				if err := json.Unmarshal(body, &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

type put struct {
	Key, Value                       []byte
	Lease, TTL                       int64
	PrevKV, IgnoreValue, IgnoreLease bool
	ValueGiven                       bool
}

func decodePut(body []byte) (p put, err error) {
	err = kvjson.Decode(body,
		kvjson.Bytes("key", &p.Key),
		kvjson.Value("value", &p.Value).Given(&p.ValueGiven),
		kvjson.ID("lease", &p.Lease),
		kvjson.Int("ttl", &p.TTL).Between(1, 1<<31),
		kvjson.Bool("prev_kv", &p.PrevKV),
		kvjson.Bool("ignore_value", &p.IgnoreValue),
		kvjson.Bool("ignore_lease", &p.IgnoreLease),
	)
	return p, err
}
