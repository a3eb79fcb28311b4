package kvjson_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// conformance are JSON texts whose names say what becomes of them: y_ is JSON and taken, n_ is not JSON and refused, s_
// is JSON by the grammar but has no single meaning, so that we refuse it where many readers guess, i_ is JSON that the
// standard lets a reader limit, and taken.
var conformance = []struct{ name, text string }{
	{"y_array_empty", `[]`},
	{"y_array_empty_with_space", ` [ ] `},
	{"y_array_nested", `[[],[[]]]`},
	{"y_array_of_all", `[null,1,"1",{},[],true,false]`},
	{"y_array_space_before_comma", `[1 ,2]`},
	{"y_array_newlines", "[1\n,\r\n\t2]"},
	{"y_object_empty", `{}`},
	{"y_object_empty_with_space", " {\n} "},
	{"y_object_member", `{"a":1}`},
	{"y_object_empty_name", `{"":0}`},
	{"y_object_escaped_nul_name", `{"a\u0000b":0}`},
	{"y_object_spaces", "{ \"a\" :\t1 , \"b\"\r\n:2 }"},
	{"y_object_same_names_in_other_objects", `{"a":{"a":1},"b":{"a":2}}`},
	{"y_object_same_names_in_sisters", `[{"a":1},{"a":2}]`},
	{"y_object_names_differ_in_case", `{"a":1,"A":2}`},
	{"y_object_names_differ_in_normal_form", "{\"\u00e9\":1,\"e\u0301\":2}"},
	{"y_object_names_with_a_common_start", `{"a":1,"ab":2,"abc":3}`},
	{"y_object_seventeen_members", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"q":1}`},
	{"y_number_zero", `0`},
	{"y_number_minus_zero", `-0`},
	{"y_number_int", `123`},
	{"y_number_negative", `-123`},
	{"y_number_fraction", `0.5`},
	{"y_number_minus_fraction", `-0.5`},
	{"y_number_exponent", `1e2`},
	{"y_number_capital_exponent", `1E2`},
	{"y_number_plus_exponent", `1e+2`},
	{"y_number_minus_exponent", `1E-2`},
	{"y_number_zero_exponent", `0e0`},
	{"y_number_fraction_and_exponent", `-12.50e-07`},
	{"y_number_space_after", "1 \n"},
	{"y_string_empty", `""`},
	{"y_string_space", `" "`},
	{"y_string_all_escapes", `"\"\\\/\b\f\n\r\t\u0041"`},
	{"y_string_u_upper_hex", `"\u00AB"`},
	{"y_string_u_lower_hex", `"\u00ab"`},
	{"y_string_escaped_nul", `"\u0000"`},
	{"y_string_surrogate_pair", `"\ud83d\udddd"`},
	{"y_string_two_surrogate_pairs", `"\uD83D\uDDDD\uD83D\uDDDD"`},
	{"y_string_below_surrogates", `"\ud7ff"`},
	{"y_string_above_surrogates", `"\ue000"`},
	{"y_string_escaped_noncharacter", `"\uffff"`},
	{"y_string_backslash_then_u", `"\\u0041"`},
	{"y_string_backslash_then_surrogate_text", `"\\ud800"`},
	{"y_string_utf8_two_bytes", "\"\u00e9\""},
	{"y_string_utf8_three_bytes", "\"\u20ac\""},
	{"y_string_utf8_four_bytes", "\"\U0001f5dd\""},
	{"y_string_utf8_last", "\"\U0010ffff\""},
	{"y_string_noncharacter", "\"\uffff\""},
	{"y_string_line_separators", "\"\u2028\u2029\""},
	{"y_string_delete", "\"\x7f\""},
	{"y_string_mark_inside", "\"\ufeff\""},
	{"y_string_brackets", `"[{,:}]"`},
	{"y_string_comment_inside", `"a/*b*/c//d"`},
	{"y_string_long", `"` + strings.Repeat("x", 10_000) + `"`},
	{"y_true", `true`},
	{"y_false", `false`},
	{"y_null", `null`},
	{"y_white_space_around", "\t\r\n null \n\r\t"},
	{"i_number_beyond_64_bits", `123456789012345678901234567890`},
	{"i_number_beyond_float", `1e400`},
	{"i_number_tiny", `-1e-400`},
	{"i_number_many_digits", `0.` + strings.Repeat("3", 1000)},
	{"i_nested_512", strings.Repeat("[", 512) + strings.Repeat("]", 512)},
	{"i_nested_512_objects", strings.Repeat(`{"a":`, 511) + `{}` + strings.Repeat("}", 511)},
	{"s_nested_513", strings.Repeat("[", 513) + strings.Repeat("]", 513)},
	{"s_nested_513_objects", strings.Repeat(`{"a":`, 512) + `{}` + strings.Repeat("}", 512)},
	{"s_duplicate", `{"a":1,"a":2}`},
	{"s_duplicate_of_equal_value", `{"a":1,"a":1}`},
	{"s_duplicate_by_escape", `{"a":1,"\u0061":2}`},
	{"s_duplicate_by_two_escapes", `{"\u0061b":1,"a\u0062":2}`},
	{"s_duplicate_empty_name", `{"":1,"":2}`},
	{"s_duplicate_nested", `[{"x":{"a":1,"b":2,"a":3}}]`},
	{"s_duplicate_after_nested", `{"a":{"b":1},"a":2}`},
	{"s_duplicate_among_seventeen", `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1,"j":1,"k":1,"l":1,"m":1,"n":1,"o":1,"p":1,"\u0061":1}`},
	{"s_surrogate_high_alone", `"\ud800"`},
	{"s_surrogate_low_alone", `"\udc00"`},
	{"s_surrogate_high_then_text", `"\ud800abcdef"`},
	{"s_surrogate_high_then_other_escape", `"\ud800\n"`},
	{"s_surrogate_two_high", `"\ud800\ud800"`},
	{"s_surrogate_swapped", `"\udc00\ud800"`},
	{"s_surrogate_high_then_letter", `"\ud800\u0041"`},
	{"s_surrogate_in_name", `{"\udfff":1}`},
	{"s_utf8_stray_byte", "\"\xff\""},
	{"s_utf8_cut", "\"\xe2\x82\""},
	{"s_utf8_continuation_alone", "\"\x80\""},
	{"s_utf8_overlong_two", "\"\xc0\xaf\""},
	{"s_utf8_overlong_three", "\"\xe0\x80\xaf\""},
	{"s_utf8_encoded_surrogate", "\"\xed\xa0\x80\""},
	{"s_utf8_beyond_last", "\"\xf4\x90\x80\x80\""},
	{"s_utf8_latin1", "[\"\xe9\"]"},
	{"s_utf8_in_name", "{\"\xff\":1}"},
	{"n_empty", ``},
	{"n_only_space", "  \n"},
	{"n_mark_first", "\ufeff{}"},
	{"n_mark_only", "\ufeff"},
	{"n_utf16", "[\x00\"\x00a\x00\"\x00]\x00"},
	{"n_array_open", `[`},
	{"n_array_open_after_comma", `[1,`},
	{"n_array_open_after_value", `[1`},
	{"n_array_trailing_comma", `[1,]`},
	{"n_array_two_commas", `[1,,2]`},
	{"n_array_comma_first", `[,1]`},
	{"n_array_only_comma", `[,]`},
	{"n_array_no_comma", `[1 2]`},
	{"n_array_no_comma_between_strings", `["a""b"]`},
	{"n_array_colon", `[1:2]`},
	{"n_array_closed_by_brace", `[1}`},
	{"n_array_closed_twice", `[1]]`},
	{"n_array_close_only", `]`},
	{"n_array_ellipsis", `[1,...]`},
	{"n_object_open", `{`},
	{"n_object_open_in_name", `{"a`},
	{"n_object_open_after_name", `{"a"`},
	{"n_object_open_after_colon", `{"a":`},
	{"n_object_open_after_value", `{"a":1`},
	{"n_object_open_after_comma", `{"a":1,`},
	{"n_object_trailing_comma", `{"a":1,}`},
	{"n_object_two_commas", `{"a":1,,"b":2}`},
	{"n_object_comma_first", `{,"a":1}`},
	{"n_object_no_value", `{"a":}`},
	{"n_object_no_colon", `{"a" 1}`},
	{"n_object_comma_for_colon", `{"a",1}`},
	{"n_object_equals", `{"a"=1}`},
	{"n_object_two_colons", `{"a"::1}`},
	{"n_object_no_comma", `{"a":1 "b":2}`},
	{"n_object_bare_name", `{a:1}`},
	{"n_object_number_name", `{1:1}`},
	{"n_object_null_name", `{null:1}`},
	{"n_object_single_quotes", `{'a':1}`},
	{"n_object_closed_by_bracket", `{"a":1]`},
	{"n_object_name_only", `{"a"}`},
	{"n_object_close_only", `}`},
	{"n_object_closed_twice", `{}}`},
	{"n_number_plus", `+1`},
	{"n_number_minus_only", `-`},
	{"n_number_minus_space", `- 1`},
	{"n_number_two_minus", `--1`},
	{"n_number_leading_zero", `01`},
	{"n_number_minus_leading_zero", `-01`},
	{"n_number_two_zeros", `00`},
	{"n_number_point_first", `.5`},
	{"n_number_minus_point", `-.5`},
	{"n_number_point_last", `1.`},
	{"n_number_point_then_exponent", `1.e2`},
	{"n_number_two_points", `1.2.3`},
	{"n_number_exponent_only", `e1`},
	{"n_number_exponent_empty", `1e`},
	{"n_number_exponent_sign_only", `1e+`},
	{"n_number_exponent_fraction", `1e1.5`},
	{"n_number_two_exponents", `1e1e1`},
	{"n_number_hex", `0x1f`},
	{"n_number_octal", `0o17`},
	{"n_number_underscore", `1_000`},
	{"n_number_comma_group", `1,000`},
	{"n_number_space_inside", `1 000`},
	{"n_number_infinity", `Infinity`},
	{"n_number_minus_infinity", `-Infinity`},
	{"n_number_nan", `NaN`},
	{"n_number_suffix", `1L`},
	{"n_number_fullwidth", "\uff11"},
	{"n_number_arabic", "\u0661"},
	{"n_string_open", `"a`},
	{"n_string_open_only", `"`},
	{"n_string_open_after_backslash", `"\`},
	{"n_string_open_after_escape", `"\n`},
	{"n_string_open_in_u", `"\u00`},
	{"n_string_escaped_quote_open", `"\"`},
	{"n_string_single_quotes", `'a'`},
	{"n_string_backticks", "`a`"},
	{"n_string_typographic_quotes", "\u201ca\u201d"},
	{"n_string_bad_escape", `"\a"`},
	{"n_string_escape_x", `"\x41"`},
	{"n_string_escape_octal", `"\0"`},
	{"n_string_escape_single_quote", `"\'"`},
	{"n_string_escape_capital_u", `"\U00000041"`},
	{"n_string_escape_newline", "\"\\\n\""},
	{"n_string_u_three_digits", `"\u041"`},
	{"n_string_u_no_hex", `"\u004g"`},
	{"n_string_u_braces", `"\u{41}"`},
	{"n_string_u_sign", `"\u+041"`},
	{"n_string_u_space", `"\u 041"`},
	{"n_string_surrogate_cut", `"\ud83d\u12"`},
	{"n_string_raw_newline", "\"a\nb\""},
	{"n_string_raw_tab", "\"a\tb\""},
	{"n_string_raw_nul", "\"a\x00b\""},
	{"n_string_raw_escape", "\"\x1b\""},
	{"n_string_raw_unit_separator", "\"abcdefgh\x1f\""},
	{"n_word_capital", `True`},
	{"n_word_upper", `NULL`},
	{"n_word_cut", `tru`},
	{"n_word_longer", `nulls`},
	{"n_word_other", `undefined`},
	{"n_word_two", `true false`},
	{"n_word_joined_to_number", `true1`},
	{"n_word_none", `nil`},
	{"n_comment_line", "1 // one"},
	{"n_comment_block", `[1,/* two */2]`},
	{"n_comment_hash", "# one\n1"},
	{"n_space_form_feed", "\f1"},
	{"n_space_vertical_tab", "\v1"},
	{"n_space_no_break", "\u00a01"},
	{"n_space_nul", "1\x00"},
	{"n_trailing_value", `1 2`},
	{"n_trailing_object", `{}{}`},
	{"n_trailing_comma", `{},`},
	{"n_trailing_text", `{}x`},
	{"n_trailing_separator", "\x1e{}"},
	{"n_semicolon", `[1;2]`},
	{"n_parenthesis", `callback({})`},
	{"n_html", `<html></html>`},
	{"n_nested_open", strings.Repeat("[", 100_000)},
	{"n_nested_objects_open", strings.Repeat(`{"":`, 100_000)},
}

func TestConformance(t *testing.T) {
	t.Parallel()
	seen := make(map[string]bool)
	for _, tt := range conformance {
		if seen[tt.name] {
			t.Errorf("two cases are named %s", tt.name)
		}
		seen[tt.name] = true
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			class, wantTaken := tt.name[0], tt.name[0] == 'y' || tt.name[0] == 'i'
			if valid := json.Valid([]byte(tt.text)); valid != (class != 'n') {
				t.Fatalf("the case is misnamed: json.Valid says %v", valid)
			}
			if _, taken := kvjson.CompactJSON(nil, []byte(tt.text)); taken != wantTaken {
				t.Errorf("CompactJSON(%.40q): taken %v, want %v", tt.text, taken, wantTaken)
			}
			// As a whole body, as a member of one that a table reads, and as an element of an array.
			if _, err := decodeDocument(tt.text); (err == nil) != wantTaken {
				t.Errorf("as a body: got %v, want it taken: %v", err, wantTaken)
			} else {
				_ = checkRefusal(t, err, problem.InvalidJSON)
			}
			var doc []byte
			if err := kvjson.Decode([]byte(`{"v_json":`+tt.text+`}`), kvjson.Value("v", &doc)); (err == nil) != wantTaken {
				t.Errorf("as a member: got %v, want it taken: %v", err, wantTaken)
			}
		})
	}
	if len(seen) < 120 {
		t.Errorf("there are %d cases, want at least 120", len(seen))
	}
}

func decodeDocument(body string) (doc []byte, err error) {
	err = kvjson.DecodeFunc([]byte(body), func(d *kvjson.Decoder) error {
		doc, err = d.Document()
		return err
	})
	if err != nil {
		return nil, err
	}
	return doc, nil
}

// The typed reader has its own loops over members and elements, so the same texts go through those: what is refused as a
// document is refused as an object without fields, as an array and as a scalar.
func TestConformanceOfTheTypedReader(t *testing.T) {
	t.Parallel()
	for _, tt := range conformance {
		if tt.name[0] != 'n' {
			continue
		}
		reads := map[string]func(d *kvjson.Decoder) error{
			"object": func(d *kvjson.Decoder) error {
				return d.Object(kvjson.Int("a", new(int64)), kvjson.Int("b", new(int64)))
			},
			"array": func(d *kvjson.Decoder) error { return d.Array(anything) },
			"text":  func(d *kvjson.Decoder) error { _, err := d.Text(); return err },
			"int":   func(d *kvjson.Decoder) error { _, err := d.Int(); return err },
		}
		for name, read := range reads {
			if err := kvjson.DecodeFunc([]byte(tt.text), read); err == nil {
				t.Errorf("%s read as %s: got no error", tt.name, name)
			}
		}
	}
}

// anything reads one value of any type.
func anything(d *kvjson.Decoder) error {
	_, err := d.Document()
	return err
}
