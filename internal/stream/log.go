package stream

import (
	"cmp"
	"slices"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
)

// log is what is known of a range: every change from the revision from up to head. It belongs to its feed's lock.
type log struct {
	from, head int64
	entries    []*entry // ascending
	total      int64    // bytes of keys and values of all entries there ever were
	account    account
}

// open begins the log: it will know everything from that revision on.
func (l *log) open(from int64, whole *account) {
	l.from, l.head = from, from-1
	l.account.whole = whole
}

// append takes in further revisions. Those that are known already are passed over.
func (l *log) append(changes []etcdclient.Change) {
	for i := range changes {
		if c := &changes[i]; c.Revision > l.head {
			e := newEntry(c, &l.account)
			e.before = l.total
			l.total += int64(e.size)
			l.entries = append(l.entries, e)
			l.head = c.Revision
		}
	}
}

// certify notes that nothing is missing up to the revision.
func (l *log) certify(revision int64) { l.head = max(l.head, revision) }

// after gives the entries at the revision next and later.
func (l *log) after(next int64) []*entry {
	i, _ := slices.BinarySearchFunc(l.entries, next, func(e *entry, n int64) int {
		return cmp.Compare(e.revision, n)
	})
	return l.entries[i:]
}

// ahead gives the size of what there is from the revision next on: how many revisions of the store lie between the first
// and the last of it, and its bytes of keys and values.
func (l *log) ahead(next int64) (revisions, bytes int64) {
	rest := l.after(next)
	if len(rest) == 0 {
		return 0, 0
	}
	first, last := rest[0], rest[len(rest)-1]
	return last.revision - first.revision + 1, l.total - first.before
}

// dropFirst lets go of the oldest revision.
func (l *log) dropFirst() {
	first := l.entries[0]
	l.entries[0] = nil
	l.entries = l.entries[1:]
	l.from = first.revision + 1
	first.drop()
}

// dropBelow lets go of what lies below the revision.
func (l *log) dropBelow(next int64) {
	for len(l.entries) > 0 && l.entries[0].revision < next {
		l.dropFirst()
	}
	l.from = max(l.from, min(next, l.head+1))
}

// clear lets go of everything.
func (l *log) clear() {
	for _, e := range l.entries {
		e.drop()
	}
	l.entries = nil
	l.from = l.head + 1
}

// bytes is what the log holds.
func (l *log) bytes() int64 { return l.account.bytes.Load() }
