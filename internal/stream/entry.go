package stream

import (
	"sync"
	"sync/atomic"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// account counts bytes that are held, here and in the whole.
type account struct {
	bytes atomic.Int64
	whole *account
}

func (a *account) add(n int) {
	for ; a != nil; a = a.whole {
		a.bytes.Add(int64(n))
	}
}

// entry is one revision in a log: what happened, and the texts that subscribers have asked for. Its texts are made once per
// form, whoever needs one first. It is safe for concurrent use.
type entry struct {
	revision int64
	events   []wire.Event
	size     int   // bytes of keys and values
	before   int64 // those of all entries of the log before this one; the log's own
	account  *account
	header   wire.Header

	mu      sync.Mutex
	texts   []text
	ballot  ballot // who stands in the election of the range, once that is counted
	counted bool
	held    int  // bytes on the account
	dropped bool // the log has let go of it: nothing more is put on the account
}

// text is the array of events in one form, nil when the form wants none of them; of an election it is the leader.
type text struct {
	form  form
	array []byte
}

// entryOverhead is what an entry takes besides its keys and values, roughly.
const entryOverhead = 256

func newEntry(c *etcdclient.Change, a *account) *entry {
	e := &entry{revision: c.Revision, events: c.Events, size: c.Size, header: c.Header, account: a, held: c.Size + entryOverhead}
	a.add(e.held)
	return e
}

// array gives the events in the form.
func (e *entry) array(f form) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.textLocked(f, func() []byte { return f.appendEvents(nil, e.events) })
}

// textLocked gives the text in the form, which is made when there is none yet.
func (e *entry) textLocked(f form, written func() []byte) []byte {
	for i := range e.texts {
		if e.texts[i].form == f {
			return e.texts[i].array
		}
	}
	array := written()
	e.texts = append(e.texts, text{form: f, array: array})
	e.holdLocked(cap(array))
	return array
}

// holdLocked puts further bytes on the account.
func (e *entry) holdLocked(n int) {
	if !e.dropped {
		e.held += n
		e.account.add(n)
	}
}

// drop takes the entry off the account. Those who hold it can still read it.
func (e *entry) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dropped {
		e.dropped = true
		e.account.add(-e.held)
	}
}
