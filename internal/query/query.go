// Package query reads query strings strictly: split at & only, + and %20 are a space, and a bad escape, a repeated name or
// a name that nobody asked for is refused. net/url's own parser drops such pairs silently.
package query

import (
	"encoding/base64"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// Query is one query string. A handler asks for each parameter it knows and then calls Done, which reports every fault at
// once. The zero value is an empty query; a Query belongs to one goroutine.
type Query struct {
	pairs  []pair
	asked  [32]string // the names asked for, to name the nearest known one
	nAsked int
	faults *problem.Error

	// Timeout is what every call takes as timeout=, in seconds, 0 when it is absent; Common reads it.
	Timeout int64
	// State says that the reserved keys are asked for: state=true, where a handler reads it.
	State bool

	base64url bool // key_encoding=base64url
}

// MaxTimeout is the longest that one call may ask for, in seconds.
const MaxTimeout = 300

// Reset empties the query and keeps its memory.
func (q *Query) Reset() {
	clear(q.pairs)
	*q = Query{pairs: q.pairs[:0]}
}

// pair is one parameter as given; bare means that it came without "=", which is true for a switch and a fault elsewhere.
type pair struct {
	name, value string
	bare, used  bool
}

// Parse splits the raw query. Repeats are found when a parameter is asked for, since key and events may repeat.
func (q *Query) Parse(raw string) error {
	for raw != "" {
		var part string
		part, raw, _ = strings.Cut(raw, "&")
		if part == "" {
			continue
		}
		name, value, hasValue := strings.Cut(part, "=")
		name, err1 := unescape(name)
		value, err2 := unescape(value)
		if err1 != nil || err2 != nil {
			return problem.New(problem.InvalidParameter,
				"the query has a bad percent escape in %q; a percent sign is written %%25", part).AtParameter(name)
		}
		if name == "" {
			return problem.New(problem.InvalidParameter, "the query has a parameter without a name: %q", part).AtParameter("")
		}
		q.pairs = append(q.pairs, pair{name: name, value: value, bare: !hasValue})
	}
	return nil
}

func unescape(s string) (string, error) {
	if !strings.ContainsAny(s, "%+") {
		return s, nil
	}
	return url.QueryUnescape(s)
}

// lookup marks and gives the parameter, nil when absent. A second value is a fault.
func (q *Query) lookup(name string) *pair {
	q.ask(name)
	var found *pair
	for i := range q.pairs {
		p := &q.pairs[i]
		if p.name != name {
			continue
		}
		if found != nil && !p.used {
			q.Fault(name, problem.InvalidParameter, "%s is given twice", name)
		}
		p.used = true
		if found == nil {
			found = p
		}
	}
	return found
}

func (q *Query) ask(name string) {
	if q.nAsked < len(q.asked) {
		q.asked[q.nAsked] = name
		q.nAsked++
	}
}

// All marks and gives every value of a parameter that may repeat, in order.
func (q *Query) All(name string) []string {
	q.ask(name)
	var out []string
	for i := range q.pairs {
		if q.pairs[i].name == name {
			q.pairs[i].used = true
			out = append(out, q.pairs[i].value)
		}
	}
	return out
}

// Given tells whether the parameter is in the query, without asking for it.
func (q *Query) Given(name string) bool {
	for i := range q.pairs {
		if q.pairs[i].name == name {
			return true
		}
	}
	return false
}

// Peek gives the value of a parameter without asking for it; empty when it is absent.
func (q *Query) Peek(name string) string {
	for i := range q.pairs {
		if q.pairs[i].name == name {
			return q.pairs[i].value
		}
	}
	return ""
}

// Fault notes one fault; Done reports them together. The first one's code is the problem's code.
func (q *Query) Fault(name string, code problem.Code, format string, args ...any) {
	e := problem.New(code, format, args...).AtParameter(name)
	if q.faults == nil {
		q.faults = e
		return
	}
	q.faults.Fields = append(q.faults.Fields, e.Fields...)
}

// Refuse notes a fault when the parameter is given: it is known, but not in this company.
func (q *Query) Refuse(name, format string, args ...any) {
	if q.Given(name) {
		q.lookup(name)
		q.Fault(name, problem.InvalidParameter, format, args...)
	}
}

// Done reports every fault so far and every parameter that nobody asked for.
func (q *Query) Done() error {
	for i := range q.pairs {
		p := &q.pairs[i]
		if p.used {
			continue
		}
		p.used = true
		hint := "this call takes no such parameter"
		if near := kvjson.Nearest(p.name, q.asked[:q.nAsked]); near != "" {
			hint = "did you mean " + near + "?"
		}
		q.Fault(p.name, problem.UnknownParameter, "the query parameter %q is not known here; %s", p.name, hint)
	}
	if q.faults == nil {
		return nil
	}
	return q.faults
}

// Integer reads a whole number in [low, high]; fallback is for an absent parameter.
func (q *Query) Integer(name string, fallback, low, high int64) int64 {
	p := q.lookup(name)
	if p == nil {
		return fallback
	}
	n, err := strconv.ParseInt(p.value, 10, 64)
	if err != nil || n < low || n > high || !plainInteger(p.value) {
		if high == math.MaxInt64 {
			q.Fault(name, problem.InvalidParameter, "%s must be a whole number, %d or greater", name, low)
		} else {
			q.Fault(name, problem.InvalidParameter, "%s must be a whole number from %d to %d", name, low, high)
		}
		return fallback
	}
	return n
}

// Faulty tells whether a fault has been noted.
func (q *Query) Faulty() bool { return q.faults != nil }

// Pairs lists the parameters as they mean, a bare name being true, sorted by their names.
func (q *Query) Pairs() [][2]string {
	pairs := make([][2]string, 0, len(q.pairs))
	for _, p := range q.pairs {
		if p.bare {
			p.value = "true"
		}
		pairs = append(pairs, [2]string{p.name, p.value})
	}
	slices.SortStableFunc(pairs, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return pairs
}

// plainInteger refuses the spellings that ParseInt takes beyond plain decimals (a plus sign).
func plainInteger(s string) bool { return s != "" && s[0] != '+' }

// Boolean reads a switch: true, false, 1, 0; a bare name is true.
func (q *Query) Boolean(name string) bool {
	p := q.lookup(name)
	if p == nil {
		return false
	}
	switch {
	case p.bare, p.value == "true", p.value == "1":
		return true
	case p.value == "false", p.value == "0":
		return false
	}
	q.Fault(name, problem.InvalidParameter, "%s must be true or false (or 1 or 0, or the bare name for true)", name)
	return false
}

// Choice reads one of a closed set of words; fallback is for an absent parameter.
func (q *Query) Choice(name, fallback string, words ...string) string {
	p := q.lookup(name)
	if p == nil {
		return fallback
	}
	if slices.Contains(words, p.value) {
		return p.value
	}
	q.Fault(name, problem.InvalidParameter, "%s must be one of %s", name, strings.Join(words, ", "))
	return fallback
}

// Text reads a parameter as it is; a bare name is a fault.
func (q *Query) Text(name string) (string, bool) {
	p := q.lookup(name)
	switch {
	case p == nil:
		return "", false
	case p.bare:
		q.Fault(name, problem.InvalidParameter, "%s needs a value: %s=…", name, name)
		return "", false
	}
	return p.value, true
}

// Key reads a parameter that names a key, under the request's key encoding; nil when absent.
func (q *Query) Key(name string) (key []byte, ok bool) {
	text, ok := q.Text(name)
	if !ok {
		return nil, false
	}
	key, err := q.DecodeKey(name, text)
	if err != nil {
		q.Fault(name, problem.InvalidParameter, "%s", problem.From(err).Detail)
		return nil, false
	}
	return key, true
}

// Encoding reads the form in which values are answered.
func (q *Query) Encoding() kvjson.Encoding {
	text, ok := q.Text("encoding")
	if !ok {
		return kvjson.Auto
	}
	e, ok := kvjson.ParseEncoding(text)
	if !ok {
		q.Fault("encoding", problem.InvalidParameter, "encoding must be one of auto, base64, json")
	}
	return e
}

// DecodeKey decodes a key of the request under key_encoding.
func (q *Query) DecodeKey(parameter, text string) ([]byte, error) {
	if !q.base64url {
		return []byte(text), nil
	}
	key, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return nil, problem.New(problem.InvalidParameter,
			"with key_encoding=base64url, %s must be unpadded base64url (A-Z a-z 0-9 - _)", parameter).AtParameter(parameter)
	}
	return key, nil
}

// Common reads what every call takes: timeout and key_encoding.
func (q *Query) Common() {
	q.Timeout = q.Integer("timeout", 0, 1, MaxTimeout)
	q.base64url = q.Choice("key_encoding", "text", "text", "base64url") == "base64url"
}

// Waiting is the time in seconds that the call wants to wait, as far as it can be read; the handler judges the parameter.
func (q *Query) Waiting() int64 {
	for i := range q.pairs {
		if q.pairs[i].name == "wait" {
			n, _ := strconv.ParseInt(q.pairs[i].value, 10, 64)
			return min(max(n, 0), MaxTimeout)
		}
	}
	return 0
}
