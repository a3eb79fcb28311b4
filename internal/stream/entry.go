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

	mu      sync.Mutex
	texts   []text
	held    int  // bytes on the account
	dropped bool // the log has let go of it: nothing more is put on the account
}

// text is the array of events in one form; nil when the form wants none of them.
type text struct {
	form  form
	array []byte
}

// entryOverhead is what an entry takes besides its keys and values, roughly.
const entryOverhead = 256

func newEntry(c *etcdclient.Change, a *account) *entry {
	e := &entry{revision: c.Revision, events: c.Events, size: c.Size, account: a, held: c.Size + entryOverhead}
	a.add(e.held)
	return e
}

// array gives the events in the form.
func (e *entry) array(f form) []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.texts {
		if e.texts[i].form == f {
			return e.texts[i].array
		}
	}
	array := f.appendEvents(nil, e.events)
	e.texts = append(e.texts, text{form: f, array: array})
	if !e.dropped {
		e.held += cap(array)
		e.account.add(cap(array))
	}
	return array
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
