package stream

import (
	"context"
	"encoding/json"
	"math"
	"time"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// op is a message of a client.
type op struct {
	name, id string
	ttl      int64
	token    string
	request  Request

	key, prefix, from, to, election   []byte
	hasKey, hasPrefix, hasFrom, hasTo bool
	heartbeat, timeout                int64
	encoding, onCompacted             string
	kinds                             []kinds
}

// The operations.
const (
	opWatch    = "watch"
	opCancel   = "cancel"
	opProgress = "progress"
	opAuth     = "auth"
	opLease    = "lease"
	opPing     = "ping"
)

// act does what a message says. A message that is wrong is answered, and the socket stays.
func (s *session) act(ctx context.Context, message []byte) {
	switch {
	case s.isClosing():
		return
	case s.intro != nil:
		s.introduce(ctx, message)
		return
	}
	var o op
	err := o.read(message)
	if err == nil {
		err = s.do(ctx, &o)
	}
	if err != nil {
		s.fault(idIn(message), err)
	}
}

// read reads a message.
func (o *op) read(message []byte) error {
	if err := kvjson.Decode(message, o.fields(everyOp)...); err != nil {
		return err
	}
	return kvjson.Decode(message, new(op).fields(o.name)...) // what belongs to another operation is not understood
}

func (s *session) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing != nil
}

// idIn finds the id in a message that was not understood, if it has one that can be answered to.
func idIn(message []byte) string {
	var o struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(message, &o) != nil || len(o.ID) > maxID {
		return ""
	}
	return o.ID
}

// everyOp stands for what any operation can have.
const everyOp = ""

// fields are what the operation of that name can have.
func (o *op) fields(name string) []kvjson.Field {
	fields := []kvjson.Field{
		kvjson.Text("op", &o.name).Required().OneOf(opWatch, opCancel, opProgress, opAuth, opLease, opPing),
	}
	if name != opPing && name != opAuth {
		fields = append(fields, kvjson.Text("id", &o.id))
	}
	if name == opAuth || name == everyOp {
		token := kvjson.Text("token", &o.token)
		if name == opAuth {
			token = token.Required()
		}
		fields = append(fields, token)
	}
	if name == opLease || name == everyOp {
		fields = append(fields, kvjson.Int("ttl", &o.ttl).Between(1, mostTTL))
	}
	if name == opWatch || name == everyOp {
		fields = append(fields, o.parameters()...)
	}
	return fields
}

// parameters are those of a watch.
func (o *op) parameters() []kvjson.Field {
	r := &o.request
	return []kvjson.Field{
		kvjson.Bytes("key", &o.key).Given(&o.hasKey),
		kvjson.Bytes("prefix", &o.prefix).Given(&o.hasPrefix),
		kvjson.Bytes("from", &o.from).Given(&o.hasFrom),
		kvjson.Bytes("to", &o.to).Given(&o.hasTo),
		kvjson.Bytes("election", &o.election).Given(&r.form.election),
		kvjson.Int("start_revision", &r.Revision).Between(1, math.MaxInt64-1),
		kvjson.Bool("snapshot", &r.Snapshot),
		kvjson.Bool("prev_kv", &r.form.prevKV),
		kvjson.Bool("keys_only", &r.form.options.KeysOnly),
		kvjson.Array("events", o.event),
		kvjson.Text("encoding", &o.encoding),
		kvjson.Text("on_compacted", &o.onCompacted).OneOf(failWord, resyncWord),
		kvjson.Text("epoch", &r.Epoch),
		kvjson.Int("heartbeat", &o.heartbeat).Between(1, mostHeartbeat),
		kvjson.Int("timeout", &o.timeout).Between(1, mostTimeout),
	}
}

func (s *session) do(ctx context.Context, o *op) error {
	switch o.name {
	case opPing:
		s.reply([]byte(`{"type":"pong"}`))
		return nil
	case opAuth:
		return s.authOp(ctx, o.token)
	}
	if o.id == "" || len(o.id) > maxID {
		return problem.New(problem.InvalidArgument, "id must have 1 to %d bytes", maxID).AtPointer("/id")
	}
	switch o.name {
	case opCancel:
		return s.cancelOp(o.id)
	case opProgress:
		return s.progressOp(o.id)
	case opLease:
		return s.leaseOp(o)
	default:
		return s.watchOp(o)
	}
}

// maxID bounds the ids that clients choose.
const maxID = 128

// watchOp begins a watch.
func (s *session) watchOp(o *op) error {
	if err := o.resolve(); err != nil {
		return err
	}
	return s.begin(o.id, &o.request, false)
}

// resolve makes the request of the parts.
func (o *op) resolve() error {
	r := &o.request
	var ok bool
	if r.form.options.Encoding, ok = kvjson.ParseEncoding(o.encoding); !ok {
		return problem.New(problem.InvalidArgument, "encoding must be one of auto, base64, json").AtPointer("/encoding")
	}
	r.form.kinds = together(o.kinds)
	r.Resync = o.onCompacted == resyncWord
	r.Heartbeat, r.Timeout = time.Duration(o.heartbeat)*time.Second, time.Duration(o.timeout)*time.Second
	if o.heartbeat == 0 {
		r.Heartbeat = defaultHeartbeat * time.Second
	}
	if r.Snapshot && r.Revision != 0 {
		return problem.New(problem.InvalidArgument, "a snapshot is of the present: give snapshot or start_revision, but not both").AtPointer("/snapshot")
	}
	return o.keys()
}

// keys resolves what is watched.
func (o *op) keys() error {
	var (
		found keyrange.Range
		err   error
		place string
	)
	switch {
	case o.request.form.election:
		return o.observe()
	case o.hasKey && (o.hasPrefix || o.hasFrom || o.hasTo), o.hasPrefix && (o.hasFrom || o.hasTo):
		return problem.New(problem.InvalidArgument, "name what is to be watched by one of key, prefix, or from and to").AtPointer("")
	case o.hasKey && len(o.key) == 0:
		return problem.New(problem.InvalidArgument, "the key is empty; name one, or watch a prefix").AtPointer("/key")
	case o.hasKey && o.key[0] == 0:
		return keyrange.Reserved().AtPointer("/key")
	case o.hasKey:
		o.request.Start = o.key
		return nil
	case o.hasPrefix:
		place = "/prefix"
		found, err = keyrange.OfPrefix(o.prefix, false)
	case o.hasFrom || o.hasTo:
		place = "/to"
		found, err = keyrange.Between(o.from, o.to, false)
	default:
		return problem.New(problem.InvalidArgument, "name what is to be watched: key, prefix, from and to, or election (an empty prefix is everything)").AtPointer("")
	}
	if err != nil {
		return problem.From(err).AtPointer(place)
	}
	o.request.Start, o.request.End = found.Start, found.End
	return nil
}

// observe resolves an election. What is of the keys behind it is refused.
func (o *op) observe() (err error) {
	r := &o.request
	if o.hasKey || o.hasPrefix || o.hasFrom || o.hasTo {
		return problem.New(problem.InvalidArgument, "an election is named by its name alone: leave key, prefix, from and to out").AtPointer("/election")
	}
	for _, other := range [...]struct {
		name string
		is   bool
	}{{"snapshot", r.Snapshot}, {"events", len(o.kinds) > 0}, {"prev_kv", r.form.prevKV}, {"keys_only", r.form.options.KeysOnly}} {
		if other.is {
			return problem.New(problem.InvalidArgument, electionTells, other.name).AtPointer("/" + other.name)
		}
	}
	if r.Start, r.End, err = electionRange(o.election); err != nil {
		return problem.From(err).AtPointer("/election")
	}
	return nil
}

// event reads one word of events.
func (o *op) event(d *kvjson.Decoder) error {
	word, err := d.Text()
	if err != nil {
		return err
	}
	kind, ok := kindOf(word)
	if !ok {
		return d.Invalid("", "events must be put or delete; leave it out for both")
	}
	o.kinds = append(o.kinds, kind)
	return nil
}

// fault answers a message that could not be acted on.
func (s *session) fault(id string, err error) {
	message := []byte{'{'}
	if id != "" {
		message = appendID(nil, id)
	}
	s.reply(s.hub.appendError(message, problem.From(err), s.requestID, 0))
}

// appendID opens a message with the id of its watch.
func appendID(dst []byte, id string) []byte {
	dst = append(dst, `{"id":`...)
	dst = kvjson.AppendString(dst, []byte(id))
	return append(dst, ',')
}

func (s *session) describe() Stream {
	d := s.connection.describe()
	s.mu.Lock()
	defer s.mu.Unlock()
	d.Watches = make([]WatchInfo, 0, len(s.watches))
	for id, w := range s.watches {
		c := w.cursor
		if c == nil {
			continue
		}
		d.Watches = append(d.Watches, c.describe(id))
	}
	for _, l := range s.leases {
		d.Leases = append(d.Leases, l.describe())
	}
	return d
}
