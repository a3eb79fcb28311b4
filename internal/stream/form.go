package stream

import (
	"github.com/etcdrest/etcdrest/internal/kvjson"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// kinds are the kinds of events that a subscriber wants.
type kinds uint8

const (
	bothKinds kinds = iota
	onlyPuts
	onlyDeletes
)

func (k kinds) want(e *wire.Event) bool {
	return k == bothKinds || (k == onlyDeletes) == e.Delete
}

// form is how a subscriber wants events written. Subscribers of one form share the text of each revision.
type form struct {
	options kvjson.Options
	prevKV  bool
	kinds   kinds
	// election is that not the events are wanted, but what they make of an election.
	election bool
}

// appendEvents appends the events that the form wants as an array, or nothing when it wants none of them.
func (f form) appendEvents(dst []byte, events []wire.Event) []byte {
	start := len(dst)
	for i := range events {
		e := events[i]
		if !f.kinds.want(&e) {
			continue
		}
		if !f.prevKV {
			e.PrevKV = nil
		}
		separator := byte(',')
		if len(dst) == start {
			separator = '['
		}
		dst = kvjson.AppendEvent(append(dst, separator), e, f.options)
	}
	if len(dst) == start {
		return dst
	}
	return append(dst, ']')
}
