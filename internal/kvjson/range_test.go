package kvjson_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// pair is a key-value as any encoder gives it, in the terms of all of them.
type pair struct {
	Key, Value           []byte
	Create, Mod, Version int64
	Lease                int64
}

// list is an answered range likewise.
type list struct {
	Revision int64
	KVs      []pair
	More     bool
}

// ours reads what AppendRange wrote, by the standard library.
func ours(t *testing.T, text []byte) (l list) {
	t.Helper()
	var in struct {
		Revision int64 `json:"revision"`
		KVs      []struct {
			Key         *string         `json:"key"`
			KeyBase64   []byte          `json:"key_base64"`
			Value       *string         `json:"value"`
			ValueBase64 []byte          `json:"value_base64"`
			ValueJSON   json.RawMessage `json:"value_json"`
			Create      int64           `json:"create_revision"`
			Mod         int64           `json:"mod_revision"`
			Version     int64           `json:"version"`
			Lease       string          `json:"lease"`
		} `json:"kvs"`
		More bool `json:"more"`
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		t.Fatalf("%.300s: %v", text, err)
	}
	l = list{Revision: in.Revision, More: in.More}
	for _, kv := range in.KVs {
		p := pair{Key: kv.KeyBase64, Value: kv.ValueBase64, Create: kv.Create, Mod: kv.Mod, Version: kv.Version}
		if kv.Key != nil {
			p.Key = []byte(*kv.Key)
		}
		if kv.Value != nil {
			p.Value = []byte(*kv.Value)
		}
		if kv.ValueJSON != nil {
			p.Value = kv.ValueJSON
		}
		if kv.Lease != "" {
			n, err := strconv.ParseUint(kv.Lease, 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			p.Lease = int64(n)
		}
		l.KVs = append(l.KVs, p)
	}
	return l
}

// theirs reads what protojson wrote of the same message.
func theirs(t *testing.T, m *etcdserverpb.RangeResponse) (l list) {
	t.Helper()
	text, err := protojson.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var in struct {
		Header struct {
			Revision int64 `json:"revision,string"`
		} `json:"header"`
		KVs []struct {
			Key     []byte `json:"key"`
			Value   []byte `json:"value"`
			Create  int64  `json:"createRevision,string"`
			Mod     int64  `json:"modRevision,string"`
			Version int64  `json:"version,string"`
			Lease   int64  `json:"lease,string"`
		} `json:"kvs"`
		More bool `json:"more"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	l = list{Revision: in.Header.Revision, More: in.More}
	for _, kv := range in.KVs {
		l.KVs = append(l.KVs, pair(kv))
	}
	return l
}

// checkRange encodes the message's bytes and wants what protojson says of them.
func checkRange(t *testing.T, m *etcdserverpb.RangeResponse) {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	r, err := wire.ParseRange(body, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range encodings {
		text := append(kvjson.AppendRange([]byte("{"), &r, kvjson.Options{Encoding: e}), '}')
		got, want := ours(t, text), theirs(t, m)
		if e == kvjson.JSON { // value_json is compacted, the bytes are not
			got, want = compacted(got), compacted(want)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%s (-protojson +ours):\n%s", e, diff)
		}
		keys := append(kvjson.AppendRange([]byte("{"), &r, kvjson.Options{Encoding: e, KeysOnly: true}), '}')
		for i, kv := range ours(t, keys).KVs {
			if kv.Value != nil || !bytes.Equal(kv.Key, want.KVs[i].Key) || kv.Mod != want.KVs[i].Mod {
				t.Errorf("%s, keys only: got %+v, want that of %+v", e, kv, want.KVs[i])
			}
		}
	}
}

func compacted(l list) list {
	kvs := make([]pair, len(l.KVs))
	for i, kv := range l.KVs {
		var b bytes.Buffer
		if json.Compact(&b, kv.Value) == nil {
			kv.Value = b.Bytes()
		}
		kvs[i] = kv
	}
	l.KVs = kvs
	return l
}

func TestRangesMeanWhatProtojsonSays(t *testing.T) {
	t.Parallel()
	checkRange(t, &etcdserverpb.RangeResponse{})
	for _, v := range values {
		checkRange(t, rangeOf(20, v.make))
	}
	for seed := range uint64(60) {
		checkRange(t, randomRange(rand.New(rand.NewPCG(seed, 0))))
	}
}

func FuzzRangeAgainstProtojson(f *testing.F) {
	f.Add([]byte("/a/b"), []byte(`{"a": [1, 2.50]}`), int64(7), int64(-1), uint64(1))
	f.Add([]byte("\xff\xfe"), []byte("\x00\x1f\"\\é\u2028"), int64(-1<<63), int64(1<<62), uint64(2))
	f.Fuzz(func(t *testing.T, key, value []byte, n, lease int64, seed uint64) {
		m := randomRange(rand.New(rand.NewPCG(seed, 1)))
		m.Header = &etcdserverpb.ResponseHeader{Revision: n}
		m.Kvs = append(m.Kvs, &mvccpb.KeyValue{Key: key, Value: value, CreateRevision: n, ModRevision: -n, Version: n ^ lease, Lease: lease})
		checkRange(t, m)
	})
}

func randomRange(r *rand.Rand) *etcdserverpb.RangeResponse {
	m := &etcdserverpb.RangeResponse{More: r.IntN(2) == 0, Count: int64(r.Uint64())}
	if r.IntN(4) > 0 {
		m.Header = &etcdserverpb.ResponseHeader{ClusterId: r.Uint64(), MemberId: r.Uint64(), Revision: randomInt(r), RaftTerm: r.Uint64()}
	}
	for range r.IntN(5) {
		m.Kvs = append(m.Kvs, &mvccpb.KeyValue{
			Key: randomBytes(r), Value: randomBytes(r),
			CreateRevision: randomInt(r), ModRevision: randomInt(r), Version: randomInt(r), Lease: randomInt(r),
		})
	}
	return m
}

func randomInt(r *rand.Rand) int64 {
	if r.IntN(3) == 0 {
		return 0
	}
	return int64(r.Uint64() >> r.IntN(64))
}

func randomBytes(r *rand.Rand) []byte {
	alphabets := []string{"abc/", "\x00\x1f\"\\ \n", "é日🗝a", "\xff\x80\xc3a", `{}[]:,"a1 `, "0123456789.eE-+"}
	letters := []rune(alphabets[r.IntN(len(alphabets))])
	var b []byte
	for range r.IntN(80) {
		b = append(b, string(letters[r.IntN(len(letters))])...)
	}
	if r.IntN(3) == 0 && len(b) > 0 {
		b[r.IntN(len(b))] = byte(r.Uint32())
	}
	return b
}

// One list must not cost an object a key, whatever the keys and values are.
func TestEncodingARangeAllocatesNothing(t *testing.T) { //nolint:paralleltest // AllocsPerRun counts the whole process
	for _, v := range values {
		body, err := proto.Marshal(rangeOf(1000, v.make))
		if err != nil {
			t.Fatal(err)
		}
		buffer := make([]byte, 0, 4*len(body))
		for _, e := range encodings {
			got := testing.AllocsPerRun(5, func() {
				r, err := wire.ParseRange(body, nil)
				if err != nil {
					t.Fatal(err)
				}
				buffer = kvjson.AppendRange(buffer[:0], &r, kvjson.Options{Encoding: e})
			})
			if got > 0 {
				t.Errorf("%s values as %s: got %v allocations for 1000 keys, want 0", v.name, e, got)
			}
		}
	}
}
