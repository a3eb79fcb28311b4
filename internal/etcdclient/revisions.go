package etcdclient

import (
	"errors"

	"github.com/etcdrest/etcdrest/internal/wire"
)

// revisions makes whole revisions of a watch's answers, each once.
type revisions struct {
	next int64 // the first revision that has not been delivered
	most int   // the most bytes of one
	// open is the revision whose end has not been seen; its Revision is 0 when there is none.
	open Change
}

// eventSize is what an event holds besides its bytes, about.
const eventSize = 128

var errOutOfOrder = errors.New("events are not in the order of their revisions")

// take copies the events of an answer, without the prefix, and gives the revisions that are whole now. With an error they
// are those before it.
func (v *revisions) take(r *wire.WatchResponse, prefix namespace) (whole []Change, err *Error) {
	var c copier
	c.measure(r, v.next)
	for e := range r.Events.All() {
		revision := e.KV.ModRevision
		if revision < v.next {
			continue
		}
		if revision != v.open.Revision {
			if revision < v.open.Revision {
				return whole, errCorrupt(methodWatch, errOutOfOrder)
			}
			whole = v.finish(whole)
			v.open = Change{Revision: revision, Events: c.events[len(c.events):], Header: r.Header}
			v.open.Header.Revision = revision
		}
		size, ok := c.event(&e, prefix)
		if !ok {
			return whole, errOutside(methodWatch)
		}
		v.open.Events = append(v.open.Events, e)
		c.events = c.events[:len(c.events)+1]
		if v.open.Size += size; v.open.Size > v.most {
			v.drop()
			return whole, errRevisionTooLarge(revision, v.most)
		}
	}
	if !r.Fragment {
		whole = v.finish(whole)
	}
	return whole, nil
}

// finish closes the open revision: it is whole.
func (v *revisions) finish(whole []Change) []Change {
	if v.open.Revision == 0 {
		return whole
	}
	n := len(v.open.Events)
	v.open.Events = v.open.Events[:n:n]
	whole = append(whole, v.open)
	v.next = v.open.Revision + 1
	v.drop()
	return whole
}

// drop forgets a revision that is not whole.
func (v *revisions) drop() { v.open = Change{} }

// reach moves on to a revision up to which everything has been sent; false when that is not so, or no news.
func (v *revisions) reach(revision int64) bool {
	if v.open.Revision != 0 || revision < v.next-1 {
		return false
	}
	v.next = revision + 1
	return true
}

// copier copies the events of an answer into memory of their own: one piece for all their bytes, one for the events, one
// for the former key-values.
type copier struct {
	bytes  []byte
	events []wire.Event
	prevs  []wire.KeyValue
}

func (c *copier) measure(r *wire.WatchResponse, from int64) {
	var size, events, prevs int
	for e := range r.Events.All() {
		if e.KV.ModRevision < from {
			continue
		}
		events++
		size += len(e.KV.Key) + len(e.KV.Value)
		if e.PrevKV != nil {
			prevs++
			size += len(e.PrevKV.Key) + len(e.PrevKV.Value)
		}
	}
	c.bytes, c.events, c.prevs = make([]byte, 0, size), make([]wire.Event, 0, events), make([]wire.KeyValue, 0, prevs)
}

// event makes the event one of our own memory; false when it is not of the namespace.
func (c *copier) event(e *wire.Event, prefix namespace) (size int, ok bool) {
	if ok = c.keyValue(&e.KV, prefix); !ok {
		return 0, false
	}
	size = eventSize + len(e.KV.Key) + len(e.KV.Value)
	if e.PrevKV == nil {
		return size, true
	}
	c.prevs = append(c.prevs, *e.PrevKV)
	e.PrevKV = &c.prevs[len(c.prevs)-1]
	ok = c.keyValue(e.PrevKV, prefix)
	return size + eventSize + len(e.PrevKV.Key) + len(e.PrevKV.Value), ok
}

func (c *copier) keyValue(kv *wire.KeyValue, prefix namespace) (ok bool) {
	if kv.Key, ok = prefix.strip(kv.Key); !ok {
		return false
	}
	kv.Key, kv.Value = c.copy(kv.Key), c.copy(kv.Value)
	return true
}

func (c *copier) copy(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	n := len(c.bytes)
	c.bytes = append(c.bytes, b...)
	return c.bytes[n:len(c.bytes):len(c.bytes)]
}
