package handlers

import (
	"bytes"

	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// A folder is what keys have in common from the beginning of the range's prefix up to and with the first delimiter behind
// it. Lists by from and to have no prefix: their folders are those at the top.

// folderLen is the length of the folder that key lies in, 0 when key is of the listed level itself.
func (l *list) folderLen(key []byte) int {
	if len(l.delimiter) == 0 || len(key) < len(l.Prefix) {
		return 0
	}
	i := bytes.Index(key[len(l.Prefix):], l.delimiter)
	if i < 0 {
		return 0
	}
	return len(l.Prefix) + i + len(l.delimiter)
}

// behind is the first key that can follow key in the list: its successor, or what follows the folder that it lies in. It
// is nil when nothing can.
func (l *list) behind(key []byte) []byte {
	next := keyrange.After(key)
	if n := l.folderLen(key); n > 0 {
		next = keyrange.PrefixEnd(key[:n])
	}
	if string(next) == keyrange.OpenEnd || !l.Before(next) {
		return nil
	}
	return next
}

// enter appends one more folder to the array of prefixes. What it has in common with the one before tells where the next
// one will be.
func (p *page) enter(folder []byte) {
	if len(p.folder) > 0 {
		p.near = commonLen(p.folder, folder)
	} else {
		p.near = len(folder) - len(p.list.delimiter) - 1
	}
	p.step = 0
	p.folder, p.inside = append(p.folder[:0], folder...), true
	if len(p.folders) > 0 {
		p.folders = append(p.folders, ',')
	}
	p.folders = append(p.folders, '{')
	p.folders = kvjson.AppendName(p.folders, "prefix", folder, p.list.Encoding)
	p.folders = append(p.folders, '}')
}

func commonLen(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// jumps is where a walk is among the folders, and how it gets behind a large one. Two ways are dear: a stream that is
// given up was sent far ahead of what was taken, and a Range counts all that lies behind its limit. So the walk peeks, by
// a Range of a few keys that ends where the nearest relatives of the folder do: what is counted there is little.
type jumps struct {
	// calls is how often etcd was asked for the page.
	calls int
	// folder is the last one listed; inside says that the last key read lies in it, tired that the walk gave up there.
	folder        []byte
	inside, tired bool
	// near is how many first bytes the next folder is thought to share with the last one, step how many fewer are tried
	// when none does: doubled each time, so that long names take few tries.
	near, step int
	// heavy says that the relatives hold so many keys that a stream is cheaper.
	heavy bool
}

const (
	// mostJumps is how often a page asks etcd; then it ends, with a cursor.
	mostJumps = 1_000
	// mostSkipped is how many keys of a folder are passed over before the walk jumps behind it; that many cost as much as a
	// jump, so a small folder costs no call and a large one at most twice the best.
	mostSkipped = 32
	// peekKeys is how many keys a peek reads. A folder that has them all is taken for a large one.
	peekKeys = 16
	// heavyCount is from how many keys on counting takes longer than a stream that is given up.
	heavyCount = 50_000
)

// bound is where a peek from at ends: behind the relatives of the last folder. It is nil when the walk goes on by a scan,
// since it did not just jump or nothing is known of relatives.
func (p *page) bound(at []byte) []byte {
	if !p.tired || p.heavy || p.near <= len(p.list.Prefix) {
		return nil
	}
	bound := keyrange.PrefixEnd(p.folder[:p.near])
	if string(bound) == keyrange.OpenEnd || !p.list.Before(bound) {
		return p.list.End
	}
	if bytes.Compare(bound, at) <= 0 {
		return nil
	}
	return bound
}

// peek reads a few keys between at and bound, and gives the key to go on at.
func (c *call) peek(p *page, at, bound []byte) (next []byte, err error) {
	answer, err := c.read(&wire.RangeRequest{
		Key: at, End: bound, Limit: peekKeys, Revision: p.revision, KeysOnly: p.list.KeysOnly,
	}, p.list.consistency)
	if err != nil {
		return nil, err
	}
	defer answer.Free()
	p.heavy = answer.Count > heavyCount
	before, near := p.items, p.near
	if err := c.take(p, each(answer.KVs.All()), peekKeys); err != nil || p.more {
		return nil, err
	}
	large := p.items == before+1 && p.inside
	switch {
	case answer.More && large:
		p.tired = true
		return p.list.behind(p.folder), nil
	case answer.More: // small folders: a scan passes over them faster
		last, _ := answer.KVs.Last()
		return keyrange.After(last.Key), nil
	case bytes.Equal(bound, p.list.End):
		return nil, nil
	}
	// All of these relatives are listed: look among more distant ones.
	p.step = max(1, 2*p.step)
	p.near = max(near-p.step, len(p.list.Prefix))
	p.tired = true
	return bound, nil
}
