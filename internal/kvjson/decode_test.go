package kvjson_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// checkRefusal wants nil, or a coded problem of status 400 that names a place; it gives the problem.
func checkRefusal(t *testing.T, err error, codes ...problem.Code) *problem.Error {
	t.Helper()
	if err == nil {
		return nil
	}
	p, ok := errors.AsType[*problem.Error](err)
	if !ok {
		t.Fatalf("got %T (%v), want a *problem.Error", err, err)
	}
	if p.Code.Info().Status != 400 || len(p.Fields) != 1 || p.Fields[0].Code != p.Code || p.Fields[0].Detail != p.Detail || p.Detail == "" {
		t.Errorf("got %+v, want status 400 and one field of the same code and detail", p)
	}
	if !slices.Contains(codes, p.Code) {
		t.Errorf("got code %s (%s), want one of %v", p.Code, p.Detail, codes)
	}
	return p
}

// body is of every kind of field.
type body struct {
	Key, Value, Doc []byte
	ValueGiven      bool
	Name, Op        string
	TTL, Limit      int64
	TTLGiven        bool
	Lease           int64
	PrevKV          bool
	IDs             []int64
	Nested          *body
}

func (b *body) fields() []kvjson.Field {
	return []kvjson.Field{
		kvjson.Bytes("key", &b.Key),
		kvjson.Value("value", &b.Value).Given(&b.ValueGiven),
		kvjson.Document("doc", &b.Doc),
		kvjson.Text("name", &b.Name),
		kvjson.Text("op", &b.Op).OneOf("eq", "ne", "lt", "gt"),
		kvjson.Int("ttl", &b.TTL).Given(&b.TTLGiven),
		kvjson.Int("limit", &b.Limit).Between(1, 10_000),
		kvjson.ID("lease", &b.Lease),
		kvjson.Bool("prev_kv", &b.PrevKV),
		kvjson.Array("ids", func(d *kvjson.Decoder) error {
			id, err := d.ID()
			b.IDs = append(b.IDs, id)
			return err
		}),
		kvjson.Object("nested", func(d *kvjson.Decoder) error {
			b.Nested = new(body)
			return d.Object(b.Nested.fields()...)
		}),
	}
}

func TestDecodeTakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in   string
		want body
	}{
		{`{}`, body{}},
		{"\r\n{\t} ", body{}},
		{`{"key":"a/b"}`, body{Key: []byte("a/b")}},
		{`{"k\u0065y":"\u0061\n\ud83d\udddd"}`, body{Key: []byte("a\n🗝")}},
		{`{"key":""}`, body{Key: []byte{}}},
		{`{"key_base64":"/w=="}`, body{Key: []byte{0xff}}},
		{`{"key_base64":"_w"}`, body{Key: []byte{0xff}}},
		{`{"key_base64":"\/w\u003d="}`, body{Key: []byte{0xff}}},
		{`{"key_base64":""}`, body{Key: []byte{}}},
		{`{"value":"v"}`, body{Value: []byte("v"), ValueGiven: true}},
		{`{"value_base64":"dg"}`, body{Value: []byte("v"), ValueGiven: true}},
		{`{"value_json": {"b": 1.50e+0, "a": [ ]} }`, body{Value: []byte(`{"b":1.50e+0,"a":[]}`), ValueGiven: true}},
		{`{"value_json":"text"}`, body{Value: []byte(`"text"`), ValueGiven: true}},
		{`{"value":null}`, body{}},
		{`{"value":null,"value_base64":"dg=="}`, body{Value: []byte("v"), ValueGiven: true}},
		{`{"value_json":null}`, body{Value: []byte("null"), ValueGiven: true}},
		{`{"value_json":null,"value":"v"}`, body{Value: []byte("v"), ValueGiven: true}},
		{`{"value":"v","value_json":null}`, body{Value: []byte("v"), ValueGiven: true}},
		{`{"value_json":null,"value":null,"value_base64":null}`, body{}},
		{`{"key":null,"key_base64":null,"doc":null,"name":null,"ttl":null,"lease":null,"prev_kv":null,"ids":null,"nested":null}`, body{}},
		{`{"doc": [ null ]}`, body{Doc: []byte("[null]")}},
		{`{"name":"\u00e9"}`, body{Name: "é"}},
		{`{"op":"eq"}`, body{Op: "eq"}},
		{`{"ttl":0}`, body{TTLGiven: true}},
		{`{"ttl":-0}`, body{TTLGiven: true}},
		{`{"ttl":9223372036854775807}`, body{TTL: math.MaxInt64, TTLGiven: true}},
		{`{"ttl":-9223372036854775808}`, body{TTL: math.MinInt64, TTLGiven: true}},
		{`{"limit":1}`, body{Limit: 1}},
		{`{"limit":10000}`, body{Limit: 10_000}},
		{`{"lease":"F"}`, body{Lease: 15}},
		{`{"lease":"ffffffffffffffff"}`, body{Lease: -1}},
		{`{"prev_kv":true}`, body{PrevKV: true}},
		{`{"prev_kv":false}`, body{}},
		{`{"ids":[]}`, body{}},
		{`{"ids":[ "1" , "0a" ]}`, body{IDs: []int64{1, 10}}},
		{`{"nested":{"key":"x","nested":{"ids":["1"]}},"key":"y"}`, body{Key: []byte("y"), Nested: &body{Key: []byte("x"), Nested: &body{IDs: []int64{1}}}}},
	}
	for _, tt := range tests {
		var got body
		if err := kvjson.Decode([]byte(tt.in), got.fields()...); err != nil {
			t.Errorf("%s: %v", tt.in, err)
			continue
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.in, diff)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct {
		in      string
		code    problem.Code
		pointer string
		detail  string
	}{
		{``, problem.InvalidJSON, "", "the body is empty"},
		{"\n ", problem.InvalidJSON, "", "the body is empty"},
		{"\ufeff{}", problem.InvalidJSON, "", "byte order mark; send UTF-8 without one (line 1, column 1)"},
		{`[]`, problem.InvalidJSON, "", "the body must be an object, not an array (line 1, column 1)"},
		{`null`, problem.InvalidJSON, "", "the body must be an object, not null"},
		{`{}x`, problem.InvalidJSON, "", "data after the end of the JSON document; send one document (line 1, column 3)"},
		{"{\n \"name\":\"é\",x}", problem.InvalidJSON, "", "member name in double quotes is expected here (line 2, column 13)"},
		{`{"name":'x'}`, problem.InvalidJSON, "/name", "double quotes (line 1, column 9)"},
		{`{"ttl":1,}`, problem.InvalidJSON, "", "no comma after the last element (line 1, column 10)"},
		{`{"ids":["1",]}`, problem.InvalidJSON, "/ids", "no comma after the last element"},
		{`{"ttl":1 "name":""}`, problem.InvalidJSON, "", "a comma or the closing bracket"},
		{`{"ttl" 1}`, problem.InvalidJSON, "", "a colon is expected"},
		{`{"ttl":1`, problem.InvalidJSON, "", "ends before it is complete (line 1, column 9)"},
		{`{"ttl":1 // a day`, problem.InvalidJSON, "", "a comma or the closing bracket"},
		{`{/* ttl */}`, problem.InvalidJSON, "", "JSON has no comments"},
		{"{\"name\":\"a\nb\"}", problem.InvalidJSON, "/name", "must be escaped, such as"},
		{"{\"name\":\"caf\xe9\"}", problem.InvalidJSON, "/name", "not valid UTF-8; bytes that are not text go into the _base64 form of a member (line 1, column 13)"},
		{"{\"\xff\":1}", problem.InvalidJSON, "", "not valid UTF-8"},
		{"{\"nested\":{\"doc\":[{\"a\":\"\xff\"}]}}", problem.InvalidJSON, "/nested/doc", "not valid UTF-8"},
		{`{"name":"\ud800"}`, problem.InvalidJSON, "/name", "one half of a surrogate pair"},
		{`{"value_json":{"a":1,"a":2}}`, problem.InvalidJSON, "/value_json", "twice in one object"},
		{`{"value_json":` + strings.Repeat("[", 513) + strings.Repeat("]", 513) + `}`, problem.InvalidJSON, "/value_json", `"value_json" is nested deeper than 512 levels`},
		{`{"ttl":1,"ttl":1}`, problem.InvalidJSON, "/ttl", `"ttl" is given twice (line 1, column 10)`},
		{`{"ttl":null,"ttl":1}`, problem.InvalidJSON, "/ttl", `"ttl" is given twice`},
		{`{"key":"a","\u006bey":"a"}`, problem.InvalidJSON, "/key", `"key" is given twice`},
		{`{"key":"a","key_base64":"YQ=="}`, problem.InvalidArgument, "/key_base64", `"key" and "key_base64" are two forms of one thing; give one of them`},
		{`{"value_json":1,"value":"1"}`, problem.InvalidArgument, "/value", `"value", "value_base64" and "value_json" are two forms`},
		{`{"tll":1}`, problem.UnknownField, "/tll", `"tll" is not a member that is known here; did you mean "ttl"? (line 1, column 2)`},
		{`{"prevKv":true}`, problem.UnknownField, "/prevKv", `did you mean "prev_kv"?`},
		{`{"key_bas64":""}`, problem.UnknownField, "/key_bas64", `did you mean "key_base64"?`},
		{`{"Key":""}`, problem.UnknownField, "/Key", `did you mean "key"?`},
		{`{"ttl_base64":""}`, problem.UnknownField, "/ttl_base64", `"ttl_base64" is not a member that is known here; there are "key", "key_base64", "value", "value_base64", "value_json", `},
		{`{"name_json":""}`, problem.UnknownField, "/name_json", `is not a member that is known here`},
		{`{"a/b~":1}`, problem.UnknownField, "/a~1b~0", `"a/b~" is not`},
		{`{"":1}`, problem.UnknownField, "", `"" is not`},
		{`{"` + strings.Repeat("é", 100) + `":1}`, problem.UnknownField, "", strings.Repeat("é", 32) + `"… is not`},
		{`{"nested":{"nested":{"tll":1}}}`, problem.UnknownField, "/nested/nested/tll", `did you mean "ttl"?`},
		{`{"key":1}`, problem.InvalidJSON, "/key", `"key" must be a string, not a number (line 1, column 8)`},
		{`{"key_base64":["a"]}`, problem.InvalidJSON, "/key_base64", `"key_base64" must be a string, not an array`},
		{`{"value":{"a":1}}`, problem.InvalidJSON, "/value", `"value" must be a string; other JSON goes into its _json form, not an object`},
		{`{"key_base64":"a"}`, problem.InvalidArgument, "/key_base64", `"key_base64" is not base64`},
		{`{"key_base64":"QQ==\n"}`, problem.InvalidArgument, "/key_base64", `is not base64`},
		{`{"key_base64":"QR=="}`, problem.InvalidArgument, "/key_base64", `is not base64`},
		{`{"key_base64":"-/8="}`, problem.InvalidArgument, "/key_base64", `is not base64`},
		{`{"op":"like"}`, problem.InvalidArgument, "/op", `"op" must be one of "eq", "ne", "lt" or "gt" (line 1, column 7)`},
		{`{"ttl":"60"}`, problem.InvalidJSON, "/ttl", `"ttl" must be a whole number, not a string`},
		{`{"ttl":1.0}`, problem.InvalidJSON, "/ttl", `written with digits only: no fraction and no exponent`},
		{`{"ttl":1e3}`, problem.InvalidJSON, "/ttl", `written with digits only: no fraction and no exponent`},
		{`{"ttl":9223372036854775808}`, problem.InvalidJSON, "/ttl", `of 64 bits`},
		{`{"ttl":-9223372036854775809}`, problem.InvalidJSON, "/ttl", `of 64 bits`},
		{`{"ttl":true}`, problem.InvalidJSON, "/ttl", `not a boolean`},
		{`{"ttl":01}`, problem.InvalidJSON, "/ttl", `no leading zero`},
		{`{"limit":0}`, problem.InvalidArgument, "/limit", `"limit" must be a whole number from 1 to 10000`},
		{`{"limit":10001}`, problem.InvalidArgument, "/limit", `from 1 to 10000`},
		{`{"lease":255}`, problem.InvalidJSON, "/lease", `"lease" must be a string of 1 to 16 hexadecimal digits, not a number`},
		{`{"lease":"0x1"}`, problem.InvalidArgument, "/lease", `"lease" must be a string of 1 to 16 hexadecimal digits`},
		{`{"lease":""}`, problem.InvalidArgument, "/lease", `1 to 16 hexadecimal digits`},
		{`{"prev_kv":1}`, problem.InvalidJSON, "/prev_kv", `"prev_kv" must be true or false, not a number`},
		{`{"prev_kv":"true"}`, problem.InvalidJSON, "/prev_kv", `not a string`},
		{`{"prev_kv":True}`, problem.InvalidJSON, "/prev_kv", `true, false and null, in lower case`},
		{`{"prev_kv":trueish}`, problem.InvalidJSON, "/prev_kv", `true, false and null, in lower case`},
		{`{"ids":"1"}`, problem.InvalidJSON, "/ids", `"ids" must be an array, not a string`},
		{`{"ids":["1",2]}`, problem.InvalidJSON, "/ids/1", `each element must be a string of 1 to 16 hexadecimal digits, not a number`},
		{`{"ids":["1",null]}`, problem.InvalidJSON, "/ids/1", `each element must be a string of 1 to 16 hexadecimal digits, not null`},
		{`{"ids":["1" "2"]}`, problem.InvalidJSON, "/ids", `a comma or the closing bracket`},
		{`{"nested":[]}`, problem.InvalidJSON, "/nested", `"nested" must be an object, not an array`},
		{`{"nested":{"ids":["x"]}}`, problem.InvalidArgument, "/nested/ids/0", `each element must be a string`},
	}
	for _, tt := range tests {
		var got body
		err := kvjson.Decode([]byte(tt.in), got.fields()...)
		if err == nil {
			t.Errorf("%s: got no error, want %s", tt.in, tt.code)
			continue
		}
		p := checkRefusal(t, err, tt.code)
		if p.Fields[0].Pointer != tt.pointer || !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s:\n got %q at %q,\nwant %q at %q", tt.in, p.Detail, p.Fields[0].Pointer, tt.detail, tt.pointer)
		}
	}
}

func TestRequiredMembers(t *testing.T) {
	t.Parallel()
	fields := func() []kvjson.Field {
		return []kvjson.Field{
			kvjson.Bytes("key", new([]byte)).Required(),
			kvjson.Value("value", new([]byte)).Required(),
			kvjson.Int("ttl", new(int64)).Required(),
		}
	}
	tests := []struct{ in, pointer, detail string }{
		{`{}`, "/key", `the body lacks the member "key" or "key_base64"`},
		{`{"key":null,"value":"","ttl":1}`, "/key", `the body lacks the member "key" or "key_base64"`},
		{`{"key":"","ttl":1}`, "/value", `the body lacks the member "value", "value_base64" or "value_json"`},
		{`{"key":"","value":null,"ttl":1}`, "/value", `the body lacks the member "value", "value_base64" or "value_json"`},
		{`{"key":"","value":""}`, "/ttl", `the body lacks the member "ttl"`},
	}
	for _, tt := range tests {
		p := checkRefusal(t, kvjson.Decode([]byte(tt.in), fields()...), problem.InvalidArgument)
		if p == nil || p.Detail != tt.detail || p.Fields[0].Pointer != tt.pointer {
			t.Errorf("%s: got %v, want %q at %s", tt.in, p, tt.detail, tt.pointer)
		}
	}
	for _, in := range []string{`{"key":"","value":"","ttl":0}`, `{"key_base64":"","value_json":null,"ttl":0}`} {
		if err := kvjson.Decode([]byte(in), fields()...); err != nil {
			t.Errorf("%s: %v", in, err)
		}
	}
	err := kvjson.DecodeFunc([]byte(`{"then":[{},{"put":{"value":"x"}}]}`), func(d *kvjson.Decoder) error {
		return d.Object(kvjson.Array("then", func(d *kvjson.Decoder) error {
			return d.Object(kvjson.Object("put", func(d *kvjson.Decoder) error {
				return d.Object(kvjson.Bytes("key", new([]byte)).Required(), kvjson.Value("value", new([]byte)))
			}))
		}))
	})
	if p := checkRefusal(t, err, problem.InvalidArgument); p == nil || p.Fields[0].Pointer != "/then/1/put/key" || !strings.HasPrefix(p.Detail, "the object lacks") {
		t.Errorf("nested: got %v, want the object's lack at /then/1/put/key", err)
	}
}

// operation is a transaction's, as the API has it.
type operation struct {
	put  []byte
	then []operation
}

func readOperations(to *[]operation) func(*kvjson.Decoder) error {
	return func(d *kvjson.Decoder) error {
		var op operation
		var isPut, isTxn bool
		err := d.Object(
			kvjson.Object("put", func(d *kvjson.Decoder) error { return d.Object(kvjson.Bytes("key", &op.put).Required()) }).Given(&isPut),
			kvjson.Object("txn", func(d *kvjson.Decoder) error { return d.Object(kvjson.Array("then", readOperations(&op.then))) }).Given(&isTxn),
		)
		if err != nil {
			return err
		}
		if isPut == isTxn {
			return d.Invalid("", "operation %d must have exactly one of put and txn", d.Index())
		}
		*to = append(*to, op)
		return nil
	}
}

func nestedTxn(levels int) string {
	return `{"then":[` + strings.Repeat(`{"txn":{"then":[`, levels) + `{"put":{"key":"deep"}}` + strings.Repeat(`]}}`, levels) + `]}`
}

func TestOperationsNestToAnyUsefulDepth(t *testing.T) {
	t.Parallel()
	for _, levels := range []int{0, 1, 2, 64, 84} {
		var ops []operation
		if err := kvjson.Decode([]byte(nestedTxn(levels)), kvjson.Array("then", readOperations(&ops))); err != nil {
			t.Fatalf("%d levels: %v", levels, err)
		}
		for range levels {
			if len(ops) != 1 {
				t.Fatalf("%d levels: got %d operations, want 1", levels, len(ops))
			}
			ops = ops[0].then
		}
		if string(ops[0].put) != "deep" {
			t.Errorf("%d levels: got %q, want deep", levels, ops[0].put)
		}
	}
	for _, levels := range []int{85, 100_000} {
		var ops []operation
		err := kvjson.Decode([]byte(nestedTxn(levels)), kvjson.Array("then", readOperations(&ops)))
		p := checkRefusal(t, err, problem.InvalidJSON)
		if p == nil || !strings.Contains(p.Detail, "nested deeper than 256 levels") || !strings.HasPrefix(p.Fields[0].Pointer, "/then/0/txn/then/0/") {
			t.Errorf("%d levels: got %.200v, want a refusal of the depth", levels, err)
		}
	}
}

func TestAHandlersOwnRefusalNamesThePlace(t *testing.T) {
	t.Parallel()
	var ops []operation
	err := kvjson.Decode([]byte(`{"then":[{"put":{"key":"a"}},{"txn":{"then":[{}]}}]}`), kvjson.Array("then", readOperations(&ops)))
	p := checkRefusal(t, err, problem.InvalidArgument)
	if p == nil || p.Fields[0].Pointer != "/then/1/txn/then/0" || p.Detail != "operation 0 must have exactly one of put and txn" {
		t.Errorf("got %v, want the refusal at /then/1/txn/then/0", err)
	}
}

func TestDecodeFuncReadsAnArray(t *testing.T) {
	t.Parallel()
	var names []string
	var numbers []int64
	err := kvjson.DecodeFunc([]byte(`[["a","b"],[1,-2]]`), func(d *kvjson.Decoder) error {
		return d.Array(func(d *kvjson.Decoder) error {
			first := d.Index() == 0
			return d.Array(func(d *kvjson.Decoder) error {
				if first {
					s, err := d.Text()
					names = append(names, s)
					return err
				}
				n, err := d.Int()
				numbers = append(numbers, n)
				return err
			})
		})
	})
	if err != nil || fmt.Sprint(names, numbers) != "[a b] [1 -2]" {
		t.Errorf("got %v, %v, %v; want [a b], [1 -2]", names, numbers, err)
	}
}

func TestATableCanBeShared(t *testing.T) {
	t.Parallel()
	var n int64
	table := []kvjson.Field{kvjson.Int("n", &n).Required()}
	for range 3 {
		if err := kvjson.Decode([]byte(`{"n":1}`), table...); err != nil {
			t.Fatal(err)
		}
	}
	if err := kvjson.Decode([]byte(`{}`), table...); err == nil {
		t.Error("the former bodies' members count for this one")
	}
}

// A value must not let its user write into the rest of the body, which other values alias.
func TestWhatIsDecodedCannotGrowIntoTheBody(t *testing.T) {
	t.Parallel()
	var b body
	if err := kvjson.Decode([]byte(`{"key":"a","name":"n","value":"v"}`), b.fields()...); err != nil {
		t.Fatal(err)
	}
	_ = append(b.Key, strings.Repeat("x", 24)...)
	if string(b.Value) != "v" {
		t.Errorf("got value %q, want v", b.Value)
	}
}

func TestMoreFieldsThanAnyBodyHas(t *testing.T) {
	t.Parallel()
	numbers := make([]int64, 100)
	var fields []kvjson.Field
	for i := range numbers {
		fields = append(fields, kvjson.Int(fmt.Sprintf("n%d", i), &numbers[i]).Required())
	}
	in := make([]string, len(numbers))
	for i := range in {
		in[i] = fmt.Sprintf(`"n%d":%d`, i, i)
	}
	if err := kvjson.Decode([]byte("{"+strings.Join(in, ",")+"}"), fields...); err != nil {
		t.Fatal(err)
	}
	for i, n := range numbers {
		if n != int64(i) {
			t.Errorf("n%d: got %d", i, n)
		}
	}
}

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"key", "key_base64", "value", "lease", "ttl", "ignore_lease", "limit"}
	for _, tt := range []struct{ name, want string }{
		{"KEY", "key"},
		{"kye", "key"},
		{"keys", "key"},
		{"vlaue", "value"},
		{"TTL", "ttl"},
		{"ignoreLease", "ignore_lease"},
		{"ignore-lease", "ignore_lease"},
		{"limits", "limit"},
		{"lese", "lease"},
		{"put", ""},
		{"x", ""},
		{"", ""},
		{"something", ""},
		{strings.Repeat("k", 100_000), ""},
	} {
		if got := kvjson.Nearest(tt.name, known); got != tt.want {
			t.Errorf("Nearest(%.20q): got %q, want %q", tt.name, got, tt.want)
		}
	}
}
