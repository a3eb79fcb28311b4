package authz

import (
	"bytes"
	"slices"

	"github.com/etcdrest/etcdrest/internal/keyrange"
)

// Grant gives verbs on the keys that begin with a prefix; an empty one is every key of the namespace.
type Grant struct {
	Verbs  Verb
	Prefix []byte
}

// rights are grants as intervals: for each verb those of its keys, sorted, and none touching another.
type rights [len(verbs)][]interval

// interval is the keys at or after start and before end; a nil end is none.
type interval struct{ start, end []byte }

func newRights(grants []Grant) (r rights) {
	for i, v := range verbs {
		var all []interval
		for _, g := range grants {
			if g.Verbs&v != 0 {
				all = append(all, ofPrefix(g.Prefix))
			}
		}
		r[i] = merge(all)
	}
	return r
}

func ofPrefix(prefix []byte) interval {
	return ofRange(prefix, keyrange.PrefixEnd(prefix))
}

// ofRange is a range as etcd takes it: no end is the one key, and one NUL byte is no end.
func ofRange(key, end []byte) interval {
	switch {
	case len(end) == 0:
		return interval{key, keyrange.After(key)}
	case string(end) == keyrange.OpenEnd:
		return interval{key, nil}
	default:
		return interval{key, end}
	}
}

// merge joins intervals that overlap or touch.
func merge(all []interval) []interval {
	slices.SortFunc(all, func(a, b interval) int { return bytes.Compare(a.start, b.start) })
	var out []interval
	for _, next := range all {
		if n := len(out) - 1; n >= 0 && (out[n].end == nil || bytes.Compare(next.start, out[n].end) <= 0) {
			if out[n].end != nil && (next.end == nil || bytes.Compare(next.end, out[n].end) > 0) {
				out[n].end = next.end
			}
			continue
		}
		out = append(out, next)
	}
	return out
}

// cover tells whether each of the verbs is granted on the whole range.
func (r *rights) cover(v Verb, key, end []byte) bool {
	for i, one := range verbs {
		if v&one != 0 && !covered(r[i], key, end) {
			return false
		}
	}
	return true
}

func covered(granted []interval, key, end []byte) bool {
	for i := range granted {
		g := &granted[i]
		if bytes.Compare(key, g.start) < 0 {
			return false
		}
		if g.end == nil {
			return true
		}
		if bytes.Compare(key, g.end) < 0 {
			switch {
			case len(end) == 0: // one key
				return true
			case string(end) == keyrange.OpenEnd:
				return false
			default:
				return bytes.Compare(end, g.end) <= 0
			}
		}
	}
	return false
}

// some tells whether the verb is granted on any key at all.
func (r *rights) some(v Verb) bool {
	for i, one := range verbs {
		if v&one != 0 && len(r[i]) == 0 {
			return false
		}
	}
	return true
}

// everything tells whether every verb is granted on every key.
func (r *rights) everything() bool { return r.cover(All, nil, []byte(keyrange.OpenEnd)) }
