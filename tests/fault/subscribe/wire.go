package subscribe

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

// wireMessage is a message as the contract has it; a poll's answer is one too.
type wireMessage struct {
	Type         history.Kind
	ID           string
	Revision     int64
	Epoch        string
	Reason       string
	Events       []wireEvent
	KVs          []wireKV
	Error        *RefusalError
	NextRevision int64 `json:"next_revision"`
}

type wireEvent struct {
	Type   history.Type
	KV     wireKV
	PrevKV *wireKV `json:"prev_kv"`
}

type wireKV struct {
	Key, Value  string
	KeyBase64   string `json:"key_base64"`
	ValueBase64 string `json:"value_base64"`
	Create      int64  `json:"create_revision"`
	Mod         int64  `json:"mod_revision"`
	Version     int64
	Lease       string
}

func (kv wireKV) plain() (out history.KeyValue, err error) {
	out = history.KeyValue{Key: kv.Key, Value: kv.Value, Create: kv.Create, Mod: kv.Mod, Version: kv.Version}
	for _, f := range []struct {
		text string
		to   *string
	}{{kv.KeyBase64, &out.Key}, {kv.ValueBase64, &out.Value}} {
		if f.text != "" {
			raw, err := base64.StdEncoding.DecodeString(f.text)
			if err != nil {
				return out, fmt.Errorf("base64: %w", err)
			}
			*f.to = string(raw)
		}
	}
	if kv.Lease != "" {
		id, err := strconv.ParseUint(kv.Lease, 16, 63)
		if err != nil {
			return out, fmt.Errorf("lease: %w", err)
		}
		out.Lease = int64(id)
	}
	return out, nil
}

func (e wireEvent) plain() (history.Event, error) {
	kv, err := e.KV.plain()
	if err != nil {
		return history.Event{}, err
	}
	out := history.Event{
		Type: e.Type, Key: kv.Key, Value: kv.Value, Mod: kv.Mod, Create: kv.Create, Version: kv.Version, Lease: kv.Lease,
	}
	if e.PrevKV != nil {
		before, err := e.PrevKV.plain()
		if err != nil {
			return out, err
		}
		out.Before = history.Before{Value: before.Value, Mod: before.Mod, Version: before.Version}
	}
	return out, nil
}

var errEnd = errors.New("end")

// decode reads a message; with the last one of a watch comes why it ended.
func decode(text []byte) (m history.Message, err error) {
	var w wireMessage
	if err := json.Unmarshal(text, &w); err != nil {
		return m, fmt.Errorf("not a message: %w: %.200q", err, text)
	}
	m = history.Message{Kind: w.Type, Revision: w.Revision}
	if m.Events, err = plainEvents(w.Events); err != nil {
		return m, err
	}
	if m.KVs, err = plainKVs(w.KVs); err != nil {
		return m, err
	}
	switch w.Type {
	case history.Error:
		m.Revision = w.Error.Revision
		return m, w.Error
	case history.End:
		return m, errEnd
	default:
		return m, nil
	}
}

func plainEvents(all []wireEvent) (events []history.Event, err error) {
	for _, e := range all {
		plain, err := e.plain()
		if err != nil {
			return nil, err
		}
		events = append(events, plain)
	}
	return events, nil
}

func plainKVs(all []wireKV) (kvs []history.KeyValue, err error) {
	for _, kv := range all {
		plain, err := kv.plain()
		if err != nil {
			return nil, err
		}
		kvs = append(kvs, plain)
	}
	return kvs, nil
}
