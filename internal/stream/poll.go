package stream

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/query"
)

// The bounds of a poll.
const (
	defaultWait = 30
	mostWait    = 300
	// pollBytes is about the most that one poll answers.
	pollBytes = 1 << 20
)

// poll is a watch that answers once.
type poll struct {
	connection
	cursor *Cursor
	cancel context.CancelFunc
	ready  chan struct{} // capacity 1
	events []byte        // their texts, each with a comma behind it; of an election the leaders
}

var _ subscriber = (*poll)(nil)

// Poll answers GET /v1/watch/poll: what has happened from start_revision on, as soon as there is something, or nothing when
// the time to wait is over; and the revision to go on from. It gives the JSON document and the revision it covers.
func (h *Hub) Poll(w http.ResponseWriter, r *http.Request, q *query.Query) (body []byte, revision int64, err error) {
	wait := time.Duration(q.Integer("wait", defaultWait, 0, mostWait)) * time.Second
	for _, name := range [...]string{"snapshot", "on_compacted", "heartbeat"} {
		q.Refuse(name, "%s is for streams; a poll answers once", name)
	}
	request, err := requestOf(q)
	if err != nil {
		return nil, 0, err
	}
	if err := q.Done(); err != nil {
		return nil, 0, err
	}
	if refused := authz.RefusalOf(r.Context()); refused != nil {
		return nil, 0, refused.Err
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	p := &poll{connection: h.connect(w, r, overPoll), cancel: cancel, ready: make(chan struct{}, 1)}
	if p.cursor, err = h.subscribe(ctx, p.identity.now(), request, p.requestID, func(*Cursor) { p.nudge() }); err != nil {
		return nil, 0, err
	}
	defer p.cursor.close(h.options.PollLinger)
	if err := h.enroll(p.id, p); err != nil {
		return nil, 0, err
	}
	defer h.leave(p.id)
	if err := p.gather(ctx, wait); err != nil {
		return nil, 0, err
	}
	return p.document(), p.cursor.delivered, nil
}

// gather takes what there is, waiting for the first change until the time is over. What had happened before the poll is
// there in any case, also when the caller does not want to wait.
func (p *poll) gather(ctx context.Context, wait time.Duration) error {
	patience := stepTimeout
	if h := p.cursor.hub; h.store.WatchFaults().Uncertified {
		patience = quietTime // nobody tells that there is nothing
	}
	over, late := time.NewTimer(wait), time.NewTimer(wait+patience)
	defer over.Stop()
	defer late.Stop()
	if c := p.cursor; c.request.form.election && c.request.Revision == 0 { // who leads now is an answer already
		p.standing(c.present, c.request.appendLeader(nil, c.ballot))
		c.delivered = c.present
		return nil
	}
	if p.cursor.request.Revision != 0 {
		p.cursor.asked.Store(p.cursor.present)
		p.cursor.certify()
	}
	for timeIsOver := false; ; {
		reason, err := p.take()
		if err != nil || reason != nil || len(p.events) > 0 {
			if len(p.events) > 0 {
				return nil // what is ready is told; the next poll meets the reason
			}
			if err == nil {
				err = reason
			}
			return err
		}
		if timeIsOver && p.cursor.delivered >= p.cursor.present {
			return nil
		}
		select {
		case <-p.ready:
		case <-over.C:
			timeIsOver = true
		case <-late.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take reads the cursor's feed up to the bound.
func (p *poll) take() (reason *problem.Error, err error) {
	c := p.cursor
	c.mu.Lock()
	feed, scope, ended, reason := c.feed, c.access.scope, c.ended, c.end
	c.mu.Unlock()
	if ended {
		return reason, nil
	}
	if feed == nil || c.moves(feed, scope) { // it is on its way to another one
		return nil, nil
	}
	var store [batchSize]*entry
	for len(p.events) < pollBytes {
		entries, head, err := feed.take(c, store[:0])
		if stands(err, head+1) && c.move(head+1) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if err := p.add(e); err != nil {
				return nil, err
			}
			c.delivered = e.revision
		}
		if len(entries) == 0 {
			c.delivered = max(c.delivered, head)
			break
		}
	}
	return nil, nil
}

// add takes one revision in.
func (p *poll) add(e *entry) error {
	c := p.cursor
	if !c.request.form.election {
		if array := e.array(c.request.form); len(array) > 0 {
			p.events = append(append(p.events, array[1:len(array)-1]...), ',')
		}
		return nil
	}
	b, leader := e.elect(c.request, c.ballot)
	if !b.fits() {
		return tooManyCandidates()
	}
	if c.ballot = b; len(leader) > 0 {
		p.standing(e.revision, leader)
	}
	return nil
}

// standing takes in who leads from a revision on.
func (p *poll) standing(revision int64, leader []byte) {
	p.events = append(appendStanding(append(p.events, '{'), revision, leader), ',')
}

// document is the answer.
func (p *poll) document() []byte {
	body := append([]byte(nil), `{"revision":`...)
	body = strconv.AppendInt(body, p.cursor.delivered, 10)
	body = append(body, `,"epoch":`...)
	body = kvjson.AppendString(body, []byte(p.cursor.epoch))
	body = append(body, `,"events":[`...)
	if p.cursor.request.form.election {
		body = append(body, `],"leaders":[`...)
	}
	if n := len(p.events); n > 0 {
		body = append(body, p.events[:n-1]...)
	}
	body = append(body, `],"next_revision":`...)
	body = strconv.AppendInt(body, p.cursor.delivered+1, 10)
	return append(body, '}', '\n')
}

func (p *poll) nudge() {
	select {
	case p.ready <- struct{}{}:
	default:
	}
}

func (p *poll) end(reason *problem.Error) { p.cursor.stop(reason) }
func (p *poll) cut()                      { p.cancel() }
func (p *poll) become(a access)           { p.cursor.become(a) }
func (p *poll) look(time.Time)            {}

func (p *poll) describe() Stream {
	d := p.connection.describe()
	d.Watches = []WatchInfo{p.cursor.describe("")}
	return d
}
