package history

import (
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// FromEtcd is an event as etcd's official client gives it.
func FromEtcd(e *clientv3.Event) Event {
	out := Event{Type: Put, Key: string(e.Kv.Key), Mod: e.Kv.ModRevision}
	if e.Type == mvccpb.Event_DELETE {
		out.Type = Delete
	} else {
		out.Value, out.Create, out.Version, out.Lease = string(e.Kv.Value), e.Kv.CreateRevision, e.Kv.Version, e.Kv.Lease
	}
	if e.PrevKv != nil {
		out.Before = Before{Value: string(e.PrevKv.Value), Mod: e.PrevKv.ModRevision, Version: e.PrevKv.Version}
	}
	return out
}

// KeyFromEtcd is a key as etcd's official client gives it.
func KeyFromEtcd(kv *mvccpb.KeyValue) KeyValue {
	return KeyValue{
		Key: string(kv.Key), Value: string(kv.Value),
		Create: kv.CreateRevision, Mod: kv.ModRevision, Version: kv.Version, Lease: kv.Lease,
	}
}

// ByRevision gathers consecutive events of one revision.
func ByRevision(events []Event) (all []Revision) {
	for _, e := range events {
		if n := len(all); n == 0 || all[n-1].Revision != e.Mod {
			all = append(all, Revision{Revision: e.Mod})
		}
		last := &all[len(all)-1]
		last.Events = append(last.Events, e)
	}
	return all
}
