package wire

import (
	"errors"
	"fmt"
	"unicode/utf8"

	"google.golang.org/protobuf/encoding/protowire"
)

// WatchResponse is what etcd sends on a watch stream: of one watch, or with the id -1 of all of them.
type WatchResponse struct {
	owner
	Header  Header
	WatchID int64
	// Created answers the request to watch; with Canceled it is refused, and WatchID is -1.
	Created  bool
	Canceled bool
	// Fragment says that the next response of this watch goes on where this one stops, maybe within a revision.
	Fragment bool
	// CompactRevision is where the log begins, when the watch was cancelled because its start is gone.
	CompactRevision int64
	CancelReason    string
	Events          Events
}

// ParseWatch reads a WatchResponse; keys are given without prefix.
func ParseWatch(b, prefix []byte) (r WatchResponse, err error) {
	r.Events = Events{message: b, prefix: prefix}
	for len(b) > 0 {
		var f field
		if f, b, err = next(b); err != nil {
			return r, err
		}
		switch {
		case f.is(1, protowire.BytesType):
			r.Header, err = ParseHeader(f.b)
		case f.is(11, protowire.BytesType):
			err = r.Events.add(f.b)
		case f.is(6, protowire.BytesType):
			if r.CancelReason = string(f.b); !utf8.Valid(f.b) {
				err = errors.New("a cancel reason that is not UTF-8")
			}
		case f.kind == protowire.VarintType:
			r.number(&f)
		}
		if err != nil {
			return r, err
		}
	}
	return r, nil
}

func (r *WatchResponse) number(f *field) {
	switch f.num {
	case 2:
		r.WatchID = int64(f.n)
	case 3:
		r.Created = f.n != 0
	case 4:
		r.Canceled = f.n != 0
	case 5:
		r.CompactRevision = int64(f.n)
	case 7:
		r.Fragment = f.n != 0
	}
}

// Events is the changes inside one answer, validated when the answer was parsed.
type Events struct {
	message []byte // the enclosing message
	prefix  []byte
	n       int
}

// Len is the number of events.
func (e *Events) Len() int { return e.n }

// All walks the events in etcd's order, which is that of their revisions. What it yields aliases the answer.
func (e *Events) All() func(yield func(Event) bool) {
	return func(yield func(Event) bool) {
		if e.n == 0 {
			return
		}
		for b := e.message; len(b) > 0; {
			f, rest, err := next(b)
			if err != nil {
				return // cannot happen: add has seen every field
			}
			b = rest
			if !f.is(11, protowire.BytesType) {
				continue
			}
			event, err := ParseEvent(f.b, e.prefix)
			if err != nil || !yield(event) {
				return
			}
		}
	}
}

// add validates one more event.
func (e *Events) add(b []byte) error {
	if _, err := ParseEvent(b, e.prefix); err != nil {
		return fmt.Errorf("event %d: %w", e.n, err)
	}
	e.n++
	return nil
}

// WatchCreateRequest begins a watch on a stream.
type WatchCreateRequest struct {
	// Key and End are as in a range, but an empty Key is the first key there can be.
	Key, End []byte
	// StartRevision is the first revision wanted; 0 is the one after whatever the member has reached.
	StartRevision int64
	PrevKV        bool
	// WatchID is chosen by the client, 0 lets etcd choose.
	WatchID int64
	// Fragment allows etcd to cut large answers into several.
	Fragment bool
}

// AppendTo appends the WatchCreateRequest as a WatchRequest.
func (r *WatchCreateRequest) AppendTo(dst []byte) []byte {
	return appendMessage(dst, 1, (*watchCreate)(r))
}

type watchCreate WatchCreateRequest

func (r *watchCreate) AppendTo(dst []byte) []byte {
	dst = appendBytes(dst, 1, r.Key)
	dst = appendBytes(dst, 2, r.End)
	dst = appendInt(dst, 3, r.StartRevision)
	dst = appendBool(dst, 6, r.PrevKV)
	dst = appendInt(dst, 7, r.WatchID)
	return appendBool(dst, 8, r.Fragment)
}

// WatchCancelRequest ends the watch of that id.
type WatchCancelRequest struct{ WatchID int64 }

// AppendTo appends the WatchCancelRequest as a WatchRequest.
func (r *WatchCancelRequest) AppendTo(dst []byte) []byte {
	return appendMessage(dst, 2, (*watchCancel)(r))
}

type watchCancel WatchCancelRequest

func (r *watchCancel) AppendTo(dst []byte) []byte { return appendInt(dst, 1, r.WatchID) }

// WatchProgressRequest asks how far all watches of the stream have come.
type WatchProgressRequest struct{}

// AppendTo appends the WatchProgressRequest as a WatchRequest.
func (*WatchProgressRequest) AppendTo(dst []byte) []byte {
	return protowire.AppendBytes(protowire.AppendTag(dst, 3, protowire.BytesType), nil)
}
