package kvjson_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

func TestStringsAreEscapedNoMoreThanNeeded(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{"", `""`},
		{"plain", `"plain"`},
		{"a\"b\\c/d", `"a\"b\\c/d"`},
		{"\b\f\n\r\t", `"\b\f\n\r\t"`},
		{"\x00\x01\x0b\x1f\x7f", `"\u0000\u0001\u000b\u001f` + "\x7f" + `"`},
		{"<script>&'\u2028\u2029\ufeff", "\"<script>&'\u2028\u2029\ufeff\""},
		{"値は日本語 🗝", `"値は日本語 🗝"`},
		{strings.Repeat("x", 31) + "\n" + strings.Repeat("y", 40), `"` + strings.Repeat("x", 31) + `\n` + strings.Repeat("y", 40) + `"`},
	}
	for _, tt := range tests {
		if got := string(kvjson.AppendString(nil, []byte(tt.in))); got != tt.want {
			t.Errorf("AppendString(%q): got %s, want %s", tt.in, got, tt.want)
		}
	}
}

// The escaper works on words and blocks, so every byte is tried at every place of them, beside other bytes and runes.
func TestEveryByteAtEveryPlaceRoundTrips(t *testing.T) {
	t.Parallel()
	for _, filler := range []string{"a", "\"", "\x00", "é"} {
		for c := range 256 {
			for place := range 34 {
				for _, after := range []int{0, 9} {
					in := strings.Repeat(filler, place) + string([]byte{byte(c)}) + strings.Repeat(filler, after)
					checkString(t, in)
				}
			}
		}
	}
}

// checkString wants a key to come back from its JSON, as text exactly when it is text.
func checkString(t *testing.T, in string) {
	t.Helper()
	var got struct {
		Text   *string `json:"key"`
		Base64 []byte  `json:"key_base64"`
	}
	text := append(kvjson.AppendKey([]byte("{"), []byte(in), kvjson.Auto), '}')
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatalf("%q: %s: %v", in, text, err)
	}
	checkForm(t, "key", []byte(in), kvjson.Auto, got.Text, got.Base64)
}

func TestLongRunsOfEscapesOutgrowTheBuffer(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 7, 8, 63, 64, 65, 1000, 100_000} {
		for _, c := range []string{"\x00", "\"", "a\x01", "é\x02"} {
			in := []byte(strings.Repeat(c, n))
			var got string
			if err := json.Unmarshal(kvjson.AppendString(make([]byte, 0, 3), in), &got); err != nil || got != string(in) {
				t.Errorf("%d times %q: the string does not come back (%v)", n, c, err)
			}
		}
	}
}

func TestWhatWasInTheBufferStays(t *testing.T) {
	t.Parallel()
	kv := wire.KeyValue{Key: []byte("k\xff"), Value: []byte("not json")}
	for _, e := range encodings {
		for size := range 200 {
			dst := make([]byte, 6, 6+size)
			copy(dst, "before")
			got := kvjson.AppendKeyValue(dst, kv, kvjson.Options{Encoding: e})
			if want := "before" + string(kvjson.AppendKeyValue(nil, kv, kvjson.Options{Encoding: e})); string(got) != want {
				t.Fatalf("%s into a buffer with %d free: got %s, want %s", e, size, got, want)
			}
		}
	}
}

var encodings = []kvjson.Encoding{kvjson.Auto, kvjson.Base64, kvjson.JSON}

func TestKeyValueForms(t *testing.T) {
	t.Parallel()
	const revisions = `,"create_revision":0,"mod_revision":0,"version":0}`
	tests := []struct {
		name       string
		key, value string
		o          kvjson.Options
		want       string
	}{
		{"text", "k", "v", kvjson.Options{}, `{"key":"k","value":"v"` + revisions},
		{"empty", "", "", kvjson.Options{}, `{"key":"","value":""` + revisions},
		{"binary key", "\xff", "v", kvjson.Options{}, `{"key_base64":"/w==","value":"v"` + revisions},
		{"binary value", "k", "\xfb\xff", kvjson.Options{}, `{"key":"k","value_base64":"+/8="` + revisions},
		{"a long value that turns binary at its end", "k", strings.Repeat("x", 100) + "\xc3", kvjson.Options{}, `{"key":"k","value_base64":"` + strings.Repeat("eHh4", 33) + `eMM="` + revisions},
		{"encoded surrogate", "k", "\xed\xa0\x80", kvjson.Options{}, `{"key":"k","value_base64":"7aCA"` + revisions},
		{"overlong", "k", "\xc0\x80", kvjson.Options{}, `{"key":"k","value_base64":"wIA="` + revisions},
		{"keys only", "k", "v", kvjson.Options{KeysOnly: true}, `{"key":"k"` + revisions},
		{"base64", "k", "v", kvjson.Options{Encoding: kvjson.Base64}, `{"key_base64":"aw==","value_base64":"dg=="` + revisions},
		{"base64 keys only", "k", "v", kvjson.Options{Encoding: kvjson.Base64, KeysOnly: true}, `{"key_base64":"aw=="` + revisions},
		{"json", "1", ` {"b": 1.0e0, "a": [ ]} `, kvjson.Options{Encoding: kvjson.JSON}, `{"key":"1","value_json":{"b":1.0e0,"a":[]}` + revisions},
		{"json number", "k", "007", kvjson.Options{Encoding: kvjson.JSON}, `{"key":"k","value":"007"` + revisions},
		{"json null", "k", "null", kvjson.Options{Encoding: kvjson.JSON}, `{"key":"k","value_json":null` + revisions},
		{"json of nothing", "k", "", kvjson.Options{Encoding: kvjson.JSON}, `{"key":"k","value":""` + revisions},
		{"json with duplicates", "k", `{"a":1,"\u0061":2}`, kvjson.Options{Encoding: kvjson.JSON}, `{"key":"k","value":"{\"a\":1,\"\\u0061\":2}"` + revisions},
		{"json with a lone surrogate", "k", `"\ud800"`, kvjson.Options{Encoding: kvjson.JSON}, `{"key":"k","value":"\"\\ud800\""` + revisions},
		{"json of invalid UTF-8", "k", "\"\xff\"", kvjson.Options{Encoding: kvjson.JSON}, `{"key":"k","value_base64":"Iv8i"` + revisions},
	}
	for _, tt := range tests {
		kv := wire.KeyValue{Key: []byte(tt.key), Value: []byte(tt.value)}
		if got := string(kvjson.AppendKeyValue(nil, kv, tt.o)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestKeyValueNumbers(t *testing.T) {
	t.Parallel()
	kv := wire.KeyValue{Key: []byte("k"), CreateRevision: 1, ModRevision: 9223372036854775807, Version: -1, Lease: -2}
	got := string(kvjson.AppendKeyValue(nil, kv, kvjson.Options{KeysOnly: true}))
	want := `{"key":"k","create_revision":1,"mod_revision":9223372036854775807,"version":-1,"lease":"fffffffffffffffe"}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAppendName(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		b    string
		e    kvjson.Encoding
		want string
	}{
		{"lock", kvjson.Auto, `x"name":"lock"`},
		{"lock", kvjson.JSON, `x"name":"lock"`},
		{"lock", kvjson.Base64, `x"name_base64":"bG9jaw=="`},
		{"\xff", kvjson.Auto, `x"name_base64":"/w=="`},
	} {
		if got := string(kvjson.AppendName([]byte("x"), "name", []byte(tt.b), tt.e)); got != tt.want {
			t.Errorf("AppendName(%q, %s): got %s, want %s", tt.b, tt.e, got, tt.want)
		}
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	kv := wire.KeyValue{Key: []byte("k"), Value: []byte("v"), CreateRevision: 2, ModRevision: 3, Version: 2, Lease: 255}
	old := wire.KeyValue{Key: []byte("k"), Value: []byte("u"), CreateRevision: 2, ModRevision: 2, Version: 1}
	const prev = `,"prev_kv":{"key":"k","value":"u","create_revision":2,"mod_revision":2,"version":1}`
	tests := []struct {
		name string
		e    wire.Event
		o    kvjson.Options
		want string
	}{
		{"put", wire.Event{KV: kv}, kvjson.Options{}, `{"type":"put","kv":{"key":"k","value":"v","create_revision":2,"mod_revision":3,"version":2,"lease":"00000000000000ff"}}`},
		{"put with the former", wire.Event{KV: old, PrevKV: &old}, kvjson.Options{}, `{"type":"put","kv":{"key":"k","value":"u","create_revision":2,"mod_revision":2,"version":1}` + prev + `}`},
		{"delete", wire.Event{Delete: true, KV: wire.KeyValue{Key: []byte("k"), ModRevision: 4}}, kvjson.Options{}, `{"type":"delete","kv":{"key":"k","mod_revision":4}}`},
		{"delete with the former", wire.Event{Delete: true, KV: wire.KeyValue{Key: []byte("k"), ModRevision: 4}, PrevKV: &old}, kvjson.Options{}, `{"type":"delete","kv":{"key":"k","mod_revision":4}` + prev + `}`},
		{"delete of a binary key", wire.Event{Delete: true, KV: wire.KeyValue{Key: []byte("\xff"), ModRevision: 4}}, kvjson.Options{KeysOnly: true}, `{"type":"delete","kv":{"key_base64":"/w==","mod_revision":4}}`},
	}
	for _, tt := range tests {
		if got := string(kvjson.AppendEvent(nil, tt.e, tt.o)); got != tt.want {
			t.Errorf("%s: got %s, want %s", tt.name, got, tt.want)
		}
	}
}

func TestIDs(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		id   int64
		text string
	}{{0, "0000000000000000"}, {1, "0000000000000001"}, {0x694d8a9e1f2b3c4d, "694d8a9e1f2b3c4d"}, {-1, "ffffffffffffffff"}, {-1 << 63, "8000000000000000"}} {
		if got := string(kvjson.AppendID(nil, tt.id)); got != `"`+tt.text+`"` {
			t.Errorf("AppendID(%d): got %s, want %q", tt.id, got, tt.text)
		}
		for _, form := range []string{tt.text, strings.ToUpper(tt.text), strconv.FormatUint(uint64(tt.id), 16)} {
			if got, err := kvjson.ParseID(form); err != nil || got != tt.id {
				t.Errorf("ParseID(%q): got %d, %v; want %d", form, got, err, tt.id)
			}
		}
	}
	for _, bad := range []string{"", "00000000000000001", "0x1", "-1", "+1", "g", " 1", "1 ", "١", "1_0"} {
		if got, err := kvjson.ParseID(bad); err == nil {
			t.Errorf("ParseID(%q): got %d, want an error", bad, got)
		}
	}
}

func TestEncodingNames(t *testing.T) {
	t.Parallel()
	for _, e := range encodings {
		if got, ok := kvjson.ParseEncoding(e.String()); !ok || got != e {
			t.Errorf("ParseEncoding(%q): got %v, %v; want it back", e, got, ok)
		}
	}
	for _, name := range []string{"", "text"} {
		if got, ok := kvjson.ParseEncoding(name); !ok || got != kvjson.Auto {
			t.Errorf("ParseEncoding(%q): got %v, %v; want auto", name, got, ok)
		}
	}
	for _, name := range []string{"Base64", "hex", "json ", "value_json"} {
		if got, ok := kvjson.ParseEncoding(name); ok {
			t.Errorf("ParseEncoding(%q): got %v, want a refusal", name, got)
		}
	}
}

func FuzzKeyValueRoundTrip(f *testing.F) {
	for _, s := range []string{"", "text", "\xff\x00", `{"a": 1}`, "\"\\\b\x1f\u2028é🗝", strings.Repeat("0123456789abcdef", 3) + "\n", "null", "\xef\xbb\xbf1"} {
		f.Add([]byte(s), []byte(s))
	}
	f.Fuzz(func(t *testing.T, key, value []byte) { checkKeyValue(t, wire.KeyValue{Key: key, Value: value}) })
}

// checkKeyValue holds all forms of a key-value against the standard library: the same bytes come back.
func checkKeyValue(t *testing.T, kv wire.KeyValue) {
	t.Helper()
	for _, e := range encodings {
		text := kvjson.AppendKeyValue(nil, kv, kvjson.Options{Encoding: e})
		if !utf8.Valid(text) {
			t.Fatalf("%s of %q: the answer is not valid UTF-8: %q", e, kv.Key, text)
		}
		var got struct {
			Key         *string         `json:"key"`
			KeyBase64   []byte          `json:"key_base64"`
			Value       *string         `json:"value"`
			ValueBase64 []byte          `json:"value_base64"`
			ValueJSON   json.RawMessage `json:"value_json"`
			Create      *int64          `json:"create_revision"`
			Mod         *int64          `json:"mod_revision"`
			Version     *int64          `json:"version"`
		}
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&got); err != nil {
			t.Fatalf("%s of key %q, value %q: %s: %v", e, kv.Key, kv.Value, text, err)
		}
		checkForm(t, "key", kv.Key, e, got.Key, got.KeyBase64)
		if got.ValueJSON == nil {
			checkForm(t, "value", kv.Value, e, got.Value, got.ValueBase64)
			continue
		}
		var want bytes.Buffer
		if err := json.Compact(&want, kv.Value); err != nil || e != kvjson.JSON || got.Value != nil || got.ValueBase64 != nil || want.String() != string(got.ValueJSON) {
			t.Fatalf("%s: value_json of %q: got %s, want %s (%v)", e, kv.Value, text, want.String(), err)
		}
	}
}

// checkForm wants exactly one form: text when it is valid UTF-8 and not asked for as base64.
func checkForm(t *testing.T, name string, in []byte, e kvjson.Encoding, text *string, binary []byte) {
	t.Helper()
	wantText := e != kvjson.Base64 && utf8.Valid(in)
	switch {
	case wantText && (text == nil || *text != string(in) || binary != nil):
		t.Fatalf("%s: %s %q: got text %v and bytes %q, want the text alone", e, name, in, text, binary)
	case !wantText && (text != nil || !bytes.Equal(binary, in)):
		t.Fatalf("%s: %s %q: got text %v and bytes %q, want the bytes alone", e, name, in, text, binary)
	}
}

func FuzzBase64AgainstTheStandardDecoder(f *testing.F) {
	for _, s := range []string{"", "QQ==", "QQ", "QR==", "QQ=", "-_8", "+/8=", "+_8", "QQ==\n", "Q\nQ==", "QU\nJD", "QUJD", "QUJD====", "=", "QQ==QQ=="} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, s []byte) {
		got, ok := kvjson.DecodeBase64(s)
		wantOK := false
		var want []byte
		if !bytes.ContainsAny(s, "\r\n") {
			for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
				if b, err := alphabet.Strict().DecodeString(string(s)); err == nil {
					want, wantOK = b, true
				}
			}
		}
		if ok != wantOK || !bytes.Equal(got, want) {
			t.Errorf("%q: got %q, %v; want %q, %v", s, got, ok, want, wantOK)
		}
		if ok && len(got) > 0 {
			if diff := cmp.Diff(strings.TrimRight(string(s), "="), strings.Map(sameAlphabet(s), base64.RawStdEncoding.EncodeToString(got))); diff != "" {
				t.Errorf("%q is not the one spelling of its bytes: %s", s, diff)
			}
		}
	})
}

// sameAlphabet maps the standard alphabet to the one that s uses.
func sameAlphabet(s []byte) func(rune) rune {
	return func(r rune) rune {
		if bytes.ContainsAny(s, "-_") {
			switch r {
			case '+':
				return '-'
			case '/':
				return '_'
			}
		}
		return r
	}
}
