package handlers

import (
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// mostScanned is how many revisions back a scan of etcd's log may begin: etcd writes nothing while it scans, about a
// second for a million.
const mostScanned = 200_000

// allLives answers a history with the deletions and the earlier lives of the key, newest first. They are found by a scan
// of etcd's log, so one runs at a time, and none from further back than mostScanned revisions.
func (c *call) allLives(h *history, how consistency) error {
	newest, err := c.pin(h.key, 0, how)
	if err != nil {
		return err
	}
	if h.revision == 0 {
		h.revision = newest
	} else if h.revision > newest {
		return problem.New(problem.FutureRevision, "the store has not reached revision %d yet", h.revision).With("revision", newest)
	}
	select {
	case c.api.scanning <- struct{}{}:
		defer func() { <-c.api.scanning }()
	default:
		return problem.New(problem.Overloaded, "another scan of etcd's log is under way; one runs at a time").WithRetryAfter(time.Second)
	}
	found, compacted, err := c.scanLog(h, newest)
	if err != nil {
		return err
	}
	if len(found.events) == 0 && !h.continued {
		return keyNotFound()
	}
	return c.livesAnswer(h, found, compacted)
}

// scanLog gathers the newest events up to h.revision. Where the log begins behind revision 1, compacted says where.
func (c *call) scanLog(h *history, newest int64) (found *newestEvents, compacted int64, err error) {
	from := max(newest-mostScanned, 1)
	if from > 1 {
		_, err := c.store.Range(c.ctx(), &wire.RangeRequest{Key: h.key, Revision: from, CountOnly: true})
		if err == nil {
			return nil, 0, problem.New(problem.ResultTooLarge, "etcd's log goes back over %d revisions; compact it, or read lives=current", mostScanned).
				With("limit", int64(mostScanned))
		}
		if !isCompacted(err) {
			return nil, 0, err
		}
	}
	for range mostFreshTries {
		found = &newestEvents{most: int(h.limit)}
		began, err := c.store.Log(c.ctx(), h.key, from, h.revision, found.add)
		if err != nil || began == 0 {
			return found, compacted, err
		}
		from, compacted = began, began
		if from > h.revision {
			return &newestEvents{}, compacted, nil
		}
	}
	return nil, 0, problem.New(problem.Compacted, "etcd's log was compacted again and again while it was read")
}

// livesAnswer appends the page.
func (c *call) livesAnswer(h *history, found *newestEvents, compacted int64) error {
	c.openObject()
	c.intMember("revision", c.revision)
	c.body = append(c.body, `"events":[`...)
	for i := len(found.events) - 1; i >= 0; i-- {
		e := &found.events[i]
		c.body = kvjson.AppendEvent(c.body, *e, h.Options)
		if i > 0 {
			c.body = append(c.body, ',')
		}
	}
	c.body = append(c.body, `],"complete":`...)
	c.body = append(strconv.AppendBool(c.body, !found.more && compacted == 0), ',')
	if compacted > 0 {
		c.intMember("compact_revision", compacted)
	}
	if found.more {
		h.revision = found.events[0].KV.ModRevision - 1
		if err := c.historyCursor(h); err != nil {
			return err
		}
	}
	c.closeObject()
	return nil
}

// newestEvents keeps the newest of the events that pass, as many as a page takes.
type newestEvents struct {
	most   int
	events []wire.Event
	bytes  int
	// more says that there were earlier ones.
	more bool
}

func (n *newestEvents) add(e wire.Event) {
	n.events = append(n.events, e)
	n.bytes += len(e.KV.Value)
	for len(n.events) > n.most || (n.bytes > mostHistoryBytes && len(n.events) > 1) {
		n.bytes -= len(n.events[0].KV.Value)
		n.events[0] = wire.Event{}
		n.events = n.events[1:]
		n.more = true
	}
}
