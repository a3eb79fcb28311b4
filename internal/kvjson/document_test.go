package kvjson_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/etcdrest/etcdrest/internal/kvjson"
)

func TestCompactJSONKeepsSpellingAndOrder(t *testing.T) {
	t.Parallel()
	tests := []struct{ in, want string }{
		{" { \"b\" : 1.50E+007 ,\n\t\"a\" : [ 1 , \"x y\" , { } ] } \r\n", `{"b":1.50E+007,"a":[1,"x y",{}]}`},
		{`-0`, `-0`},
		{` "\u0041\/ é" `, `"\u0041\/ é"`},
		{`[1,2,3]`, `[1,2,3]`},
		{` 123456789012345678901234567890 `, `123456789012345678901234567890`},
		{"null", "null"},
	}
	for _, tt := range tests {
		got, ok := kvjson.CompactJSON([]byte("x"), []byte(tt.in))
		if !ok || string(got) != "x"+tt.want {
			t.Errorf("CompactJSON(%q): got %q, %v; want %q", tt.in, got, ok, "x"+tt.want)
		}
	}
}

func TestCompactJSONGivesTheBufferBack(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"", "text", "[1,", `{"a":[1 , 2 , {"b":1,"b":2}]}`, "[ 1 ] x", "\xff"} {
		if got, ok := kvjson.CompactJSON([]byte("before"), []byte(in)); ok || string(got) != "before" {
			t.Errorf("CompactJSON(%q): got %q, %v; want what was there before and a refusal", in, got, ok)
		}
	}
}

// A value is a caller's, so looking for duplicates must not take the square of its members.
func TestDuplicatesAreFoundInLinearithmicTime(t *testing.T) {
	t.Parallel()
	names := make([]string, 100_000)
	for i := range names {
		names[i] = fmt.Sprintf(`"%d":0`, i)
	}
	doc := "{" + strings.Join(names, ",") + "}"
	started := time.Now()
	if _, ok := kvjson.CompactJSON(nil, []byte(doc)); !ok {
		t.Error("different names were taken for duplicates")
	}
	if _, ok := kvjson.CompactJSON(nil, []byte(doc[:len(doc)-1]+`,"0":1}`)); ok {
		t.Error("the duplicate of the first name was not found")
	}
	if d := time.Since(started); d > 20*time.Second { // pairs would take minutes
		t.Errorf("two documents of %d members took %v", len(names), d)
	}
}

func FuzzCompactJSONAgainstTheStandardLibrary(f *testing.F) {
	for _, tt := range conformance {
		if len(tt.text) < 2000 {
			f.Add([]byte(tt.text))
		}
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, ok := kvjson.CompactJSON(nil, in)
		var want bytes.Buffer
		wantOK := utf8.Valid(in) && json.Compact(&want, in) == nil && !ambiguous(in)
		if ok != wantOK {
			t.Fatalf("%q: taken %v, want %v", in, ok, wantOK)
		}
		if ok && string(got) != want.String() {
			t.Fatalf("%q: got %q, want %q", in, got, want.Bytes())
		}
		if doc, err := decodeDocument(string(in)); (err == nil) != ok || string(doc) != string(got) {
			t.Fatalf("%q as a body: got %q, %v; want %q", in, doc, err, got)
		}
	})
}

// ambiguous tells, of valid JSON, whether it has duplicate members, lone surrogates or more than 512 levels, by other
// means than ours: the standard tokens, and their strings written again.
func ambiguous(in []byte) bool {
	if loneSurrogate(in) {
		return true
	}
	d := json.NewDecoder(bytes.NewReader(in))
	d.UseNumber()
	type open struct {
		names  map[string]bool // nil for an array
		isName bool
	}
	var stack []open
	value := func() {
		if n := len(stack); n > 0 && stack[n-1].names != nil {
			stack[n-1].isName = true
		}
	}
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		top := len(stack) - 1
		switch token := token.(type) {
		case json.Delim:
			switch token {
			case '{':
				stack = append(stack, open{names: map[string]bool{}, isName: true})
			case '[':
				stack = append(stack, open{})
			default:
				stack = stack[:top]
				value()
			}
			if len(stack) > 512 {
				return true
			}
		case string:
			if top >= 0 && stack[top].isName {
				if stack[top].names[token] {
					return true
				}
				stack[top].names[token] = true
				stack[top].isName = false
				continue
			}
			value()
		default:
			value()
		}
	}
}

// loneSurrogate looks for a half of a surrogate pair without its other half.
func loneSurrogate(in []byte) bool {
	unit := func(at int) (n int) {
		if at+6 > len(in) || in[at] != '\\' || in[at+1] != 'u' {
			return 0
		}
		if _, err := fmt.Sscanf(strings.ToLower(string(in[at+2:at+6])), "%04x", &n); err != nil {
			return 0
		}
		return n
	}
	for i := 0; i < len(in); i++ {
		if in[i] != '\\' {
			continue
		}
		n := unit(i)
		if n < 0xd800 || n > 0xdfff {
			i++ // the escaped character
			continue
		}
		low := unit(i + 6)
		if n >= 0xdc00 || low < 0xdc00 || low > 0xdfff {
			return true
		}
		i += 11
	}
	return false
}

// Short texts have every combination of the tokens' edges, which random ones seldom hit.
func TestEveryShortTextIsTakenOrRefusedAsByTheStandardLibrary(t *testing.T) {
	t.Parallel()
	const alphabet = `{}[]:,"a10-.e \`
	text := make([]byte, 0, 5)
	var try func(left int)
	try = func(left int) {
		_, got := kvjson.CompactJSON(nil, text)
		if want := json.Valid(text) && !ambiguous(text); got != want {
			t.Errorf("%q: taken %v, want %v", text, got, want)
		}
		for i := 0; left > 0 && i < len(alphabet); i++ {
			text = append(text, alphabet[i])
			try(left - 1)
			text = text[:len(text)-1]
		}
	}
	try(4)
	for _, frame := range []struct{ before, after string }{{`{"a`, `}`}, {`[1`, `]`}, {`"\ud83d`, `d"`}, {`{"a":1`, `"a":2}`}} {
		for i := range 15 * 15 * 15 {
			middle := string([]byte{alphabet[i/225], alphabet[i/15%15], alphabet[i%15]})
			in := []byte(frame.before + middle + frame.after)
			_, got := kvjson.CompactJSON(nil, in)
			if want := json.Valid(in) && !ambiguous(in); got != want {
				t.Errorf("%q: taken %v, want %v", in, got, want)
			}
		}
	}
}
