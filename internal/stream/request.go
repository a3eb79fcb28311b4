package stream

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
)

// Request is what a subscriber asks for, whatever transport it came over.
type Request struct {
	// Start and End are as etcd takes them: no End is the one key Start.
	Start, End []byte
	// Revision is the first one wanted, 0 for the next.
	Revision int64
	// Snapshot sends the present state first.
	Snapshot bool
	// Resync sends a snapshot where the history is gone, rather than ending.
	Resync bool
	// Epoch must be the store's, if it is given.
	Epoch string
	// Heartbeat is the longest silence.
	Heartbeat time.Duration
	// Timeout ends the watch, 0 for never.
	Timeout time.Duration

	form form
}

// The bounds of the parameters, in seconds.
const (
	defaultHeartbeat = 15
	mostHeartbeat    = 300
	mostTimeout      = query.MaxTimeout
)

// The words of the parameter on_compacted.
const (
	failWord   = "fail"
	resyncWord = "resync"
)

// requestOf reads the parameters of a query; those of the transport must have been asked for before. It reports every fault.
func requestOf(q *query.Query) (*Request, error) {
	r := &Request{}
	if err := r.rangeOf(q); err != nil {
		return nil, err
	}
	r.Revision = q.Integer("start_revision", 0, 1, math.MaxInt64-1)
	r.Snapshot = q.Boolean("snapshot")
	r.Resync = q.Choice("on_compacted", failWord, failWord, resyncWord) == resyncWord
	r.Epoch, _ = q.Text("epoch")
	r.Heartbeat = time.Duration(q.Integer("heartbeat", defaultHeartbeat, 1, mostHeartbeat)) * time.Second
	r.Timeout = time.Duration(q.Timeout) * time.Second
	r.form = form{
		options: kvjson.Options{Encoding: q.Encoding(), KeysOnly: q.Boolean("keys_only")},
		prevKV:  q.Boolean("prev_kv"),
	}
	r.form.kinds = kindsOf(q)
	r.form.election = q.Given("election")
	if r.Snapshot && r.Revision != 0 {
		q.Fault("snapshot", problem.InvalidParameter, "a snapshot is of the present: give snapshot or start_revision, but not both")
	}
	return r, nil
}

// rangeOf reads key, or prefix, or from and to. There is no default: to watch everything is prefix= with nothing behind it.
func (r *Request) rangeOf(q *query.Query) error {
	name, byElection := q.Key("election")
	key, byKey := q.Key("key")
	if byElection {
		return r.observe(q, name)
	}
	if byKey {
		for _, name := range [...]string{"prefix", "from", "to"} {
			q.Refuse(name, "name what is to be watched by one of key, prefix, or from and to")
		}
		return r.single(key)
	}
	keys, err := q.Range()
	if err != nil {
		return err
	}
	if !keys.Named && !q.Faulty() {
		q.Fault("prefix", problem.InvalidParameter, "name what is to be watched: key=, prefix=, from= and to=, or election= (prefix= with nothing behind it is everything)")
	}
	r.Start, r.End = keys.Start, keys.End
	return nil
}

// observe watches the leader of an election. What is of the keys behind it is refused.
func (r *Request) observe(q *query.Query, name []byte) (err error) {
	for _, other := range [...]string{"key", "prefix", "from", "to"} {
		q.Refuse(other, "an election is named by its name alone: leave %s out", other)
	}
	for _, other := range [...]string{"snapshot", "events", "prev_kv", "keys_only"} {
		q.Refuse(other, electionTells, other)
	}
	if r.Start, r.End, err = electionRange(name); err != nil {
		return problem.From(err).AtParameter("election")
	}
	return nil
}

// electionTells is the refusal of what has no meaning where an election is observed.
const electionTells = "an election tells its leader, with the value, first and after each change: leave %s out, or watch prefix=<name>/"

// single watches one key.
func (r *Request) single(key []byte) error {
	switch {
	case len(key) == 0:
		return problem.New(problem.InvalidParameter, "the key is empty; name one, or watch a prefix").AtParameter("key")
	case key[0] == 0:
		return keyrange.Reserved().AtParameter("key")
	}
	r.Start = key
	return nil
}

func kindsOf(q *query.Query) kinds {
	var wanted []kinds
	for _, word := range q.All("events") {
		k, ok := kindOf(word)
		if !ok {
			q.Fault("events", problem.InvalidParameter, "events must be put or delete; leave it out for both")
		}
		wanted = append(wanted, k)
	}
	return together(wanted)
}

// together is what is wanted by one who names these kinds; none is both.
func together(wanted []kinds) kinds {
	if len(wanted) == 0 || slices.Contains(wanted, onlyPuts) && slices.Contains(wanted, onlyDeletes) {
		return bothKinds
	}
	return wanted[0]
}

// after makes the request go on behind a bookmark, which has the form epoch-revision: what Server-Sent Events carry as id.
func (r *Request) after(bookmark string) error {
	i := strings.LastIndexByte(bookmark, '-')
	text := bookmark[i+1:]
	revision, err := strconv.ParseInt(text, 10, 64)
	if i <= 0 || err != nil || strconv.FormatInt(revision, 10) != text || revision == math.MaxInt64 {
		return problem.New(problem.InvalidParameter, "Last-Event-ID must be the id of a message that was received").AtParameter("Last-Event-ID")
	}
	r.Epoch, r.Revision, r.Snapshot = bookmark[:i], revision+1, false
	return nil
}

// one tells whether a single key is watched.
func (r *Request) one() bool { return len(r.End) == 0 }

// kindOf reads a word of the parameter events.
func kindOf(word string) (k kinds, ok bool) {
	switch word {
	case "put":
		return onlyPuts, true
	case "delete":
		return onlyDeletes, true
	default:
		return bothKinds, false
	}
}
