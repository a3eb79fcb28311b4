package handlers

import (
	"strconv"
	"strings"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// The types of an export's lines.
const (
	lineKV    = "kv"
	lineEnd   = "end"
	lineError = "error"
)

// importLine is one line of an export, read strictly. Only what its type has is set.
type importLine struct {
	number int64
	kind   string
	// A kv line's. Key and value may alias the line.
	key, value []byte
	lease      int64
	// An end line's: the number of kv lines before it.
	count int64
	// fault is why a kv line cannot be taken, or was not; skipped tells that the reason is only that its key exists.
	fault   *problem.Error
	skipped bool
	// written tells that the line's put was done (in a dry run: would be), existed that its key was there before.
	written, existed bool
}

// readLine reads one line. A line that is not valid is of type kv and carries its fault.
func (a *API) readLine(text []byte, number int64) importLine {
	l := importLine{number: number}
	var (
		create, mod, version, revision   int64
		failure                          []byte
		hasKey, hasValue                 bool
		hasCount, hasRevision, hasReason bool
	)
	err := kvjson.Decode(text,
		kvjson.Text("type", &l.kind).Required().OneOf(lineKV, lineEnd, lineError),
		kvjson.Bytes("key", &l.key).Given(&hasKey),
		kvjson.Value("value", &l.value).Given(&hasValue),
		kvjson.Int("create_revision", &create).Between(0, maxInt64),
		kvjson.Int("mod_revision", &mod).Between(0, maxInt64),
		kvjson.Int("version", &version).Between(0, maxInt64),
		kvjson.ID("lease", &l.lease),
		kvjson.Int("count", &l.count).Between(0, maxInt64).Given(&hasCount),
		kvjson.Int("revision", &revision).Between(0, maxInt64).Given(&hasRevision),
		kvjson.Document("error", &failure).Given(&hasReason),
	)
	switch {
	case err != nil:
		l = importLine{number: number, kind: lineKV, fault: problem.From(err)}
	case l.kind == lineKV:
		l.fault = a.checkPut(&l, hasKey, hasValue, hasCount || hasRevision || hasReason)
	case l.kind == lineEnd && (!hasCount || hasKey || hasValue || hasReason):
		l.kind, l.fault = lineKV, problem.New(problem.InvalidArgument, "an end line has the members type, count and revision")
	case l.kind == lineError && (hasKey || hasValue || hasCount):
		l.kind, l.fault = lineKV, problem.New(problem.InvalidArgument, "an error line has the members type and error")
	}
	return l
}

// checkPut finds what keeps a kv line from being put.
func (a *API) checkPut(l *importLine, hasKey, hasValue, foreign bool) *problem.Error {
	switch {
	case !hasKey:
		return problem.New(problem.InvalidArgument, "the line lacks the member key or key_base64")
	case len(l.key) == 0:
		return problem.New(problem.InvalidArgument, "the key is empty; etcd has no empty keys")
	case l.key[0] == 0:
		return problem.New(problem.Reserved, "keys that begin with a NUL byte hold the gateway's own state")
	case !hasValue:
		return problem.New(problem.InvalidArgument, "the line lacks the value; an export with keys_only cannot be imported")
	case foreign:
		return problem.New(problem.InvalidArgument, "a kv line has the members of a key-value, and no count, revision or error")
	case int64(len(l.value)) > a.options.MaxValueBytes:
		return problem.New(problem.RequestTooLarge, "a value may have at most %d bytes", a.options.MaxValueBytes)
	}
	return nil
}

// appendFault appends the report's line on a line that was not taken.
func (l *importLine) appendFault(dst []byte) []byte {
	dst = append(dst, `{"type":"fault","line":`...)
	dst = strconv.AppendInt(dst, l.number, 10)
	if len(l.key) > 0 {
		dst = append(dst, ',')
		dst = kvjson.AppendKey(dst, l.key, kvjson.Auto)
	}
	dst = append(dst, `,"code":"`...)
	dst = append(dst, l.fault.Code...)
	dst = append(dst, `","detail":`...)
	// Within its own line, every fault is on line 1.
	detail := strings.Replace(l.fault.Detail, "(line 1, column ", "(column ", 1)
	dst = kvjson.AppendString(dst, []byte(detail))
	return append(dst, "}\n"...)
}
