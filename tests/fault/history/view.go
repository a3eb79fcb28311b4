package history

import "strings"

// View is what a watch asks to see.
type View struct {
	Key    string
	Prefix bool   // all keys that begin with Key
	To     string // all keys from Key up to this one; empty: no range
	PrevKV bool
	// KeysOnly leaves the values out.
	KeysOnly bool
	// Only is the one type of events to see; empty: both.
	Only Type
}

// Has says whether a key is in the view's range.
func (v View) Has(key string) bool {
	switch {
	case v.Prefix:
		return strings.HasPrefix(key, v.Key)
	case v.To != "":
		return key >= v.Key && key < v.To
	default:
		return key == v.Key
	}
}

// Of is what the view shows of a revision; nothing when none of it is in the view.
func (v View) Of(r Revision) (shown []Event) {
	for _, e := range r.Events {
		if !v.Has(e.Key) || v.Only != "" && e.Type != v.Only {
			continue
		}
		if v.KeysOnly {
			e.Value, e.Before.Value = "", ""
		}
		if !v.PrevKV {
			e.Before = Before{}
		}
		shown = append(shown, e)
	}
	return shown
}
