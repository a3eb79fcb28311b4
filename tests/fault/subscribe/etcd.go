package subscribe

import (
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// Etcd is etcd's official client as a transport: what the gateway is compared with, and what proves the harness.
type Etcd struct{ Client *clientv3.Client }

func (Etcd) String() string { return "etcd" }

// Open reads where to start, because etcd's own "now" certifies nothing, and watches from there.
func (e Etcd) Open(ctx context.Context, ask Ask) (Feed, error) {
	f := &etcdFeed{}
	start := ask.Start
	if start == 0 {
		at, err := e.present(ctx, f, ask)
		if err != nil {
			return nil, err
		}
		start = at + 1
	} else {
		f.ready = append(f.ready, history.Message{Kind: history.Created, Revision: start - 1})
	}
	ctx, f.cancel = context.WithCancel(clientv3.WithRequireLeader(ctx))
	options := append(span(ask.View), clientv3.WithRev(start), clientv3.WithProgressNotify())
	if ask.View.PrevKV {
		options = append(options, clientv3.WithPrevKV())
	}
	switch ask.View.Only {
	case history.Put:
		options = append(options, clientv3.WithFilterDelete())
	case history.Delete:
		options = append(options, clientv3.WithFilterPut())
	}
	f.view, f.answers = ask.View, e.Client.Watch(ctx, ask.View.Key, options...)
	return f, nil
}

// present reads the state, or only its revision.
func (e Etcd) present(ctx context.Context, f *etcdFeed, ask Ask) (int64, error) {
	options := span(ask.View)
	if !ask.Snapshot {
		options = append(options, clientv3.WithCountOnly())
	}
	if ask.View.KeysOnly {
		options = append(options, clientv3.WithKeysOnly())
	}
	now, err := e.Client.Get(ctx, ask.View.Key, options...)
	if err != nil {
		return 0, fmt.Errorf("read the present: %w", err)
	}
	at := now.Header.Revision
	f.ready = append(f.ready, history.Message{Kind: history.Created, Revision: at})
	if ask.Snapshot {
		m := history.Message{Kind: history.Snapshot}
		for _, kv := range now.Kvs {
			m.KVs = append(m.KVs, history.KeyFromEtcd(kv))
		}
		f.ready = append(f.ready, m, history.Message{Kind: history.Synced, Revision: at})
	}
	return at, nil
}

// span is the view's range.
func span(view history.View) []clientv3.OpOption {
	switch {
	case view.Prefix:
		return []clientv3.OpOption{clientv3.WithPrefix()}
	case view.To != "":
		return []clientv3.OpOption{clientv3.WithRange(view.To)}
	default:
		return nil
	}
}

type etcdFeed struct {
	view    history.View
	answers clientv3.WatchChan
	cancel  context.CancelFunc
	ready   []history.Message
}

var errWatchEnded = errors.New("the watch ended")

func (f *etcdFeed) Next() (history.Message, error) {
	for len(f.ready) == 0 {
		answer, ok := <-f.answers
		if !ok {
			return history.Message{}, errWatchEnded
		}
		if err := answer.Err(); err != nil {
			return history.Message{}, refused(answer, err)
		}
		f.take(answer)
	}
	m := f.ready[0]
	f.ready = f.ready[1:]
	return m, nil
}

// take turns an answer, which may hold several revisions, into one message for each.
func (f *etcdFeed) take(answer clientv3.WatchResponse) {
	if answer.IsProgressNotify() {
		f.ready = append(f.ready, history.Message{Kind: history.Progress, Revision: answer.Header.Revision})
		return
	}
	var events []history.Event
	for _, e := range answer.Events {
		event := history.FromEtcd(e)
		if f.view.KeysOnly {
			event.Value, event.Before.Value = "", ""
		}
		events = append(events, event)
	}
	for _, r := range history.ByRevision(events) {
		f.ready = append(f.ready, history.Message{Kind: history.Events, Revision: r.Revision, Events: r.Events})
	}
}

func refused(answer clientv3.WatchResponse, err error) error {
	if answer.CompactRevision > 0 {
		return &RefusalError{Status: 410, Code: "compacted", Detail: err.Error(), CompactRevision: answer.CompactRevision}
	}
	return &RefusalError{Status: 503, Code: "unavailable", Detail: err.Error()}
}

func (f *etcdFeed) Close(bool) {
	f.cancel()
	for range f.answers { // until the client has let go of the watch
	}
}
