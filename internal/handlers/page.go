package handlers

import (
	"bytes"
	"errors"
	"io"
	"iter"
	"math"
	"slices"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/keyrange"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// page is one page of a list on its way: its key-values grow in the call's body, its folders here.
type page struct {
	list *list
	// revision is the one all pages are read at, 0 until it is known; count is -1 when not asked for.
	revision, count int64
	// opened says that the document was opened before the key-values, because the revision was known by then.
	opened bool
	// items is the number of keys and folders so far, last the last key among them.
	items int
	last  []byte
	// folders is the array's text; jumps is where the walk is among them.
	folders []byte
	jumps
	// more says that there is at least one key behind the page.
	more bool
}

const (
	// mostPageBytes ends a page early, so that a large limit over large values needs no more memory than this and one piece.
	mostPageBytes = 32 << 20
	// mostUnpinned is how many keys are read of a range whose size and revision are not known before the revision is asked
	// for and the page begun anew. Most lists are shorter, and take one call.
	mostUnpinned = 150
	// carefulPage is how many keys a Range reads of a range of which nothing is known; further ones follow what it brought.
	carefulPage = 250
)

// listPage answers a page in the order of the keys.
func (c *call) listPage(l *list) error {
	p := &page{list: l, count: -1}
	at, pinned := l.Start, false
	var err error
	if l.from != nil {
		p.revision, p.count = l.from.revision, l.from.count
		if at = l.behind(l.from.key); at == nil {
			return problem.New(problem.InvalidCursor, "nothing can follow the cursor's key in this list").AtParameter("cursor")
		}
	} else if l.revision == 0 && !l.serializable {
		if at, pinned, err = c.unpinned(p); err != nil {
			return err
		}
	}
	if !pinned {
		if err := c.pinPage(p); err != nil {
			return err
		}
	}
	if err := c.walk(p, at); err != nil {
		return err
	}
	c.rememberSize(p)
	return c.finishList(p)
}

// rememberSize keeps what the first page told about the size of the range.
func (c *call) rememberSize(p *page) {
	switch l := p.list; {
	case l.from != nil || l.delimiter != nil || l.revision != 0:
	case len(c.body) > mostAtOnceBytes:
		c.api.sizes.set(l, largeRange)
	case !p.more:
		c.api.sizes.set(l, int64(p.items))
	}
}

// pinPage settles the revision of the page, and the count when it is asked for: the first page of a list reads both at
// once, each other page takes them from the cursor and makes sure that etcd (still) has the revision.
func (c *call) pinPage(p *page) (err error) {
	c.body, p.items, p.folders, p.jumps = c.body[:0], 0, p.folders[:0], jumps{}
	revision := p.list.revision
	if p.revision > 0 {
		revision = p.revision
	}
	if p.list.count && p.list.from == nil {
		p.count, p.revision, err = c.countAt(p.list, revision)
	} else {
		p.revision, err = c.pin(p.list.Start, revision, p.list.consistency)
	}
	if err == nil {
		c.open(p)
	}
	return err
}

// open begins the document.
func (c *call) open(p *page) {
	c.openList(p.revision)
	p.opened = true
}

// walk fills the page from at on, at its revision.
func (c *call) walk(p *page, at []byte) (err error) {
	for at != nil {
		p.calls++
		if bound := p.bound(at); bound != nil {
			at, err = c.peek(p, at, bound)
		} else {
			at, err = c.scanPage(p, at)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scanPage walks from at to the end of the range, of the page, or of patience with a large folder: then it gives the key
// to go on at.
func (c *call) scanPage(p *page, at []byte) (next []byte, err error) {
	s := c.newScan(at, p.list.End, p.revision, p.list.consistency)
	s.Request.KeysOnly = p.list.KeysOnly
	s.Most = int64(p.list.limit - p.items + 1)
	if p.list.delimiter == nil { // with folders small steps pay
		s.Page = min(s.Most, carefulPage)
	}
	if err := c.take(p, s.All(c.ctx()), mostSkipped); err != nil || p.more || !p.tired {
		return nil, err
	}
	return p.list.behind(p.folder), nil
}

// take fills the page until it is full, the keys have ended, or passing over one folder has taken more than skip keys.
func (c *call) take(p *page, keys iter.Seq2[wire.KeyValue, error], skip int) error {
	skipped := 0
	p.tired = false
	for kv, err := range keys {
		if err != nil {
			return err
		}
		if p.inside = len(p.folder) > 0 && bytes.HasPrefix(kv.Key, p.folder); p.inside {
			if skipped++; skipped > skip {
				p.tired = true
				return nil
			}
			continue
		}
		if p.full(len(c.body)) {
			p.more = true
			return nil
		}
		p.items++
		p.last = append(p.last[:0], kv.Key...)
		if n := p.list.folderLen(kv.Key); n > 0 {
			p.enter(kv.Key[:n])
			skipped = 0
		} else {
			c.appendItem(kv, p.list.Options)
		}
	}
	return nil
}

// full tells whether the page has all it may have, with so many bytes of key-values.
func (p *page) full(size int) bool {
	return p.items >= p.list.limit || size+len(p.folders) >= mostPageBytes || p.calls > mostJumps
}

// unpinned reads the first page of the present without asking for the revision beforehand, where that can be done by one
// call. It gives where the walk is to go on (nil: nowhere) and whether the page has its revision; if not, it is to be begun
// anew.
func (c *call) unpinned(p *page) (at []byte, pinned bool, err error) {
	l := p.list
	keys, known := c.api.sizes.get(l)
	switch {
	case known && keys <= mostAtOnce && l.delimiter == nil:
		return c.atOnce(p, int64(l.limit)+1)
	case l.count, known && keys > mostUnpinned:
		return l.Start, false, nil
	}
	return c.glimpse(p)
}

// glimpse begins a stream, whose end tells the revision. It is given up when the page needs more than a few keys, or ends
// before the stream does.
func (c *call) glimpse(p *page) (at []byte, pinned bool, err error) {
	l := p.list
	r := l.Request()
	r.KeysOnly = l.KeysOnly
	in, err := c.store.RangeStream(c.ctx(), &r)
	if e := problem.From(err); e != nil && e.Code == problem.NotSupported {
		if l.delimiter != nil {
			return l.Start, false, nil
		}
		return c.atOnce(p, min(int64(l.limit)+1, carefulPage))
	}
	if err != nil {
		return nil, false, err
	}
	defer in.Close()
	g := glimpsed{in: in}
	err = c.take(p, g.all, math.MaxInt) // what was sent is there, so there is nothing to jump over
	switch {
	case errors.Is(err, errUnpinned), err == nil && g.revision == 0:
		c.api.sizes.set(l, largeRange)
		fallthrough
	case err != nil && problem.From(err).Code.Info().Retryable:
		p.more = false
		return l.Start, false, nil
	case err != nil:
		return nil, false, err
	}
	p.revision = g.revision
	return nil, true, l.check(g.revision)
}

// glimpsed walks the pieces of a stream at a revision that the last piece tells.
type glimpsed struct {
	in       *etcdclient.RangeStream
	revision int64 // 0 until the last piece has come
}

// errUnpinned ends a glimpse of a range that turns out to be large.
var errUnpinned = errors.New("the range is large and its revision is not known")

func (g *glimpsed) all(yield func(wire.KeyValue, error) bool) {
	for n := 0; ; {
		piece, err := g.in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err == nil {
			g.revision = piece.Header.Revision
			if n += piece.KVs.Len(); g.revision == 0 && n > mostUnpinned {
				err = errUnpinned
			}
		}
		if err != nil {
			yield(wire.KeyValue{}, err)
			return
		}
		for kv := range piece.KVs.All() {
			if !yield(kv, nil) {
				return
			}
		}
		piece.Free()
	}
}

// atOnce reads up to limit keys by one Range, which tells the revision and the count of the whole range.
func (c *call) atOnce(p *page, limit int64) (at []byte, pinned bool, err error) {
	l := p.list
	r := l.Request()
	r.KeysOnly, r.Limit = l.KeysOnly, limit
	answer, err := c.read(&r, l.consistency)
	if e := problem.From(err); e != nil && e.Code == problem.ResultTooLarge {
		c.api.sizes.set(l, largeRange)
		return l.Start, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer answer.Free()
	c.api.sizes.set(l, answer.Count)
	if p.revision = answer.Header.Revision; l.count {
		p.count = answer.Count
	}
	// Room for the metadata's names, and for what comes around them: growing a large answer step by step copies it.
	c.body = slices.Grow(c.body, answer.KVs.Size()+80*answer.KVs.Len()+128)
	c.open(p)
	if err := c.take(p, each(answer.KVs.All()), math.MaxInt); err != nil || p.more || !answer.More {
		return nil, true, err
	}
	return keyrange.After(p.last), true, nil
}

// each is the key-values of an answer that is there.
func each(kvs iter.Seq[wire.KeyValue]) iter.Seq2[wire.KeyValue, error] {
	return func(yield func(wire.KeyValue, error) bool) {
		for kv := range kvs {
			if !yield(kv, nil) {
				return
			}
		}
	}
}
