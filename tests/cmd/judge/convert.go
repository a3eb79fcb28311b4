package main

import (
	"io"

	"github.com/anishathalye/porcupine"
	"go.etcd.io/etcd/tests/v3/robustness/model"
	"go.etcd.io/etcd/tests/v3/robustness/report"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

func newCore(config zapcore.EncoderConfig, out io.Writer) zapcore.Core {
	return zapcore.NewCore(zapcore.NewConsoleEncoder(config), zapcore.AddSync(out), zap.ErrorLevel)
}

// requests are transactions that make the history: etcd's model replays them.
func requests(revisions []history.Revision) (all []model.EtcdRequest) {
	for _, r := range revisions {
		txn := &model.TxnRequest{}
		for _, e := range r.Events {
			op := model.EtcdOperation{Type: model.PutOperation}
			if e.Type == history.Delete {
				op.Type, op.Delete.Key = model.DeleteOperation, e.Key
			} else {
				op.Put = model.PutOptions{Key: e.Key, Value: model.ToValueOrHash(e.Value)}
			}
			txn.OperationsOnSuccess = append(txn.OperationsOnSuccess, op)
		}
		all = append(all, model.EtcdRequest{Type: model.Txn, Txn: txn})
	}
	return all
}

// clients are the streams that etcd's model knows: it has no views of one type of events, of keys only, or of a range.
func clients(streams []history.Stream) []report.ClientReport {
	all := []report.ClientReport{emptyAtStart()}
	for _, s := range streams {
		if s.View.Only != "" || s.View.KeysOnly || s.View.To != "" {
			continue
		}
		client := report.ClientReport{ClientID: len(all)}
		for _, leg := range s.Legs {
			client.Watch = append(client.Watch, watches(s.View, leg)...)
		}
		all = append(all, client)
	}
	return all
}

// emptyAtStart is the read that the validators demand as proof that the history is whole; NewLog has proved it.
func emptyAtStart() report.ClientReport {
	return report.ClientReport{KeyValue: []porcupine.Operation{{
		Input:  model.EtcdRequest{Type: model.Range, Range: &model.RangeRequest{RangeOptions: model.RangeOptions{Start: "none"}}},
		Output: model.MaybeEtcdResponse{EtcdResponse: model.EtcdResponse{Range: &model.RangeResponse{KVs: []model.KeyValue{}}, Revision: 1}},
		Call:   1, Return: 2,
	}}}
}

// watches are the stretches of a connection: one, and another after each snapshot.
func watches(view history.View, leg history.Leg) (all []model.WatchOperation) {
	request := model.WatchRequest{Key: view.Key, WithPrefix: view.Prefix, WithPrevKV: view.PrevKV, Revision: leg.Start}
	now := model.WatchOperation{Request: request}
	for _, m := range leg.Messages {
		switch m.Kind {
		case history.Created:
			if now.Request.Revision == 0 {
				now.Request.Revision = m.Revision + 1
			}
		case history.Synced:
			now = model.WatchOperation{Request: request}
			now.Request.Revision = m.Revision + 1
		case history.Reset:
			all = append(all, now)
			now = model.WatchOperation{Request: request}
		case history.Events, history.Progress:
			now.Responses = append(now.Responses, response(m))
		case history.Snapshot, history.Error, history.End:
		}
	}
	return append(all, now)
}

func response(m history.Message) model.WatchResponse {
	r := model.WatchResponse{Revision: m.Revision, IsProgressNotify: m.Kind == history.Progress}
	for _, e := range m.Events {
		event := model.WatchEvent{PersistedEvent: model.PersistedEvent{
			Event: model.Event{Type: model.DeleteOperation, Key: e.Key}, Revision: e.Mod,
		}}
		if e.Type == history.Put {
			event.Type, event.Value, event.IsCreate = model.PutOperation, model.ToValueOrHash(e.Value), e.Create == e.Mod
		}
		if e.Before != (history.Before{}) {
			event.PrevValue = &model.ValueRevision{Value: model.ToValueOrHash(e.Before.Value), ModRevision: e.Before.Mod, Version: e.Before.Version}
		}
		r.Events = append(r.Events, event)
	}
	return r
}

func count(clients []report.ClientReport) (n int) {
	for _, c := range clients {
		n += len(c.Watch)
	}
	return n
}
