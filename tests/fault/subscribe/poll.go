package subscribe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Poll asks again and again, each time from where the answer before ended. Its snapshot is a list.
type Poll struct {
	Gateway

	// Wait in seconds.
	Wait int
}

func (Poll) String() string { return "poll" }

// Open asks for the first answer only to learn where a poll without a start begins.
func (p Poll) Open(ctx context.Context, ask Ask) (Feed, error) {
	client, l := p.client()
	f := &pollFeed{line: l, ctx: ctx, client: client, poll: p, ask: ask}
	if ask.Snapshot {
		return f, f.list()
	}
	if ask.Start == 0 {
		answer, err := f.once(0)
		if err != nil {
			return nil, err
		}
		f.ask.Start = answer.NextRevision
		if len(answer.Events) > 0 {
			f.ask.Start = answer.Events[0].KV.Mod // what came before it was not asked for; it is asked for again
		}
	}
	f.ready = append(f.ready, history.Message{Kind: history.Created, Revision: f.ask.Start - 1})
	return f, nil
}

type pollFeed struct {
	*line

	ctx    context.Context //nolint:containedctx // that of the connection, as Open says
	client *http.Client
	poll   Poll
	ask    Ask
	ready  []history.Message
}

func (f *pollFeed) Next() (history.Message, error) {
	for len(f.ready) == 0 {
		answer, err := f.once(f.poll.Wait)
		if err != nil {
			return closed, err
		}
		events, err := plainEvents(answer.Events)
		if err != nil {
			return closed, err
		}
		for _, r := range history.ByRevision(events) {
			f.ready = append(f.ready, history.Message{Kind: history.Events, Revision: r.Revision, Events: r.Events})
		}
		f.ready = append(f.ready, history.Message{Kind: history.Progress, Revision: answer.NextRevision - 1})
		f.ask.Start = answer.NextRevision
	}
	m := f.ready[0]
	f.ready = f.ready[1:]
	return m, nil
}

// list reads the state, and polls from there.
func (f *pollFeed) list() error {
	q := f.poll.query(f.ask)
	for _, name := range []string{"heartbeat", "snapshot", "prev_kv", "events"} {
		q.Del(name)
	}
	if view := f.ask.View; view.Prefix || view.To != "" {
		q.Set("limit", "10000")
	}
	answer, err := f.get("/v1/kv?" + q.Encode())
	if err != nil {
		return err
	}
	m := history.Message{Kind: history.Snapshot}
	if m.KVs, err = plainKVs(answer.KVs); err != nil {
		return err
	}
	f.ready = append(f.ready, m, history.Message{Kind: history.Synced, Revision: answer.Revision})
	f.ask.Snapshot, f.ask.Start = false, answer.Revision+1
	return nil
}

func (f *pollFeed) once(wait int) (w wireMessage, err error) {
	q := f.poll.query(f.ask)
	q.Set("wait", strconv.Itoa(wait))
	q.Del("heartbeat")
	w, err = f.get("/v1/watch/poll?" + q.Encode())
	if err == nil && w.NextRevision == 0 {
		return w, errors.New("a poll's answer without next_revision")
	}
	return w, err
}

func (f *pollFeed) get(path string) (w wireMessage, err error) {
	r, err := http.NewRequestWithContext(f.ctx, http.MethodGet, f.poll.URL+path, http.NoBody)
	if err != nil {
		return w, err
	}
	answer, err := f.client.Do(r)
	if err != nil {
		return w, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return w, refusal(answer)
	}
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return w, err
	}
	if err := json.Unmarshal(text, &w); err != nil {
		return w, fmt.Errorf("not an answer: %w: %.200q", err, text)
	}
	return w, nil
}

func (f *pollFeed) Close(abruptly bool) { f.cut(abruptly) }
