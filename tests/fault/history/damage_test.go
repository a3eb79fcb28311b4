package history_test

import (
	"slices"

	"github.com/etcdrest/etcdrest/tests/fault/history"
)

type damage struct {
	inflict func(m messages) messages
	want    []history.Damage
}

// unseen are the damages that etcd's validators do not see: they take several revisions in one answer for good, as etcd
// itself sends them, and do not know how far a stream should have come.
var unseen = []string{"the last revision is lost", "two revisions come as one"}

// messages of a connection, to be damaged.
type messages []history.Message

// at finds the message of a revision.
func (m messages) at(kind history.Kind, revision int64) int {
	return slices.IndexFunc(m, func(m history.Message) bool { return m.Kind == kind && m.Revision == revision })
}

func insert(m messages, i int, added ...history.Message) messages {
	return slices.Insert(slices.Clone(m), i, added...)
}

// The damages; revision 25 has two events in the view, 22, 23, 26 and 28 one each, and 30 a bookmark.
var damages = map[string]damage{
	"a revision is lost": {func(m messages) messages {
		i := m.at(history.Events, 26)
		return slices.Delete(m, i, i+1)
	}, []history.Damage{history.Lost}},
	"the first revision after a resume is lost": {func(m messages) messages {
		i := m.at(history.Events, 22)
		return slices.Delete(m, i, i+1)
	}, []history.Damage{history.Lost}},
	"the last revision is lost": {func(m messages) messages {
		return m[:m.at(history.Events, 41)]
	}, []history.Damage{history.Lost}},
	"a revision is lost under a bookmark": {func(m messages) messages {
		i := m.at(history.Progress, 40)
		return append(m[:m.at(history.Events, 38)], m[i:]...)
	}, []history.Damage{history.Lost}},
	"a revision comes twice": {func(m messages) messages {
		i := m.at(history.Events, 25)
		return insert(m, i, m[i])
	}, []history.Damage{history.Duplicated}},
	"a revision comes again later": {func(m messages) messages {
		return insert(m, m.at(history.Events, 34), m[m.at(history.Events, 25)])
	}, []history.Damage{history.Duplicated}},
	"a revision of the connection before comes again": {func(m messages) messages {
		return insert(m, 1, history.Message{Kind: history.Events, Revision: 20, Events: []history.Event{{Type: history.Put, Key: "a/x", Mod: 20}}})
	}, []history.Damage{history.Early}},
	"two revisions change places": {func(m messages) messages {
		i := m.at(history.Events, 25)
		m[i], m[i+1] = m[i+1], m[i]
		return m
	}, []history.Damage{history.Reordered}},
	"a revision is split over two messages": {func(m messages) messages {
		i := m.at(history.Events, 25)
		first, second := m[i], m[i]
		first.Events, second.Events = m[i].Events[:1], m[i].Events[1:]
		m[i] = second
		return insert(m, i, first)
	}, []history.Damage{history.Split}},
	"half a revision is lost": {func(m messages) messages {
		i := m.at(history.Events, 25)
		m[i].Events = m[i].Events[:1]
		return m
	}, []history.Damage{history.Torn}},
	"the events of a revision change places": {func(m messages) messages {
		i := m.at(history.Events, 25)
		m[i].Events = []history.Event{m[i].Events[1], m[i].Events[0]}
		return m
	}, []history.Damage{history.Altered}},
	"a value is another": {func(m messages) messages {
		i := m.at(history.Events, 26)
		m[i].Events = slices.Clone(m[i].Events)
		m[i].Events[0].Value = "no"
		return m
	}, []history.Damage{history.Altered}},
	"two revisions come as one": {func(m messages) messages {
		i := m.at(history.Events, 25)
		m[i+1].Events = append(slices.Clone(m[i].Events), m[i+1].Events...)
		return slices.Delete(m, i, i+1)
	}, []history.Damage{history.Lost, history.Altered}},
	"a revision of another view": {func(m messages) messages {
		return insert(m, m.at(history.Events, 28), history.Message{Kind: history.Events, Revision: 27, Events: []history.Event{{Key: "b/z"}}})
	}, []history.Damage{history.Foreign}},
	"a bookmark overtakes a revision": {func(m messages) messages {
		i := m.at(history.Progress, 30)
		m[i], m[i-1] = m[i-1], m[i]
		return m
	}, []history.Damage{history.Bookmarked}},
	"a bookmark goes back": {func(m messages) messages {
		return insert(m, m.at(history.Events, 34), history.Message{Kind: history.Progress, Revision: 29})
	}, []history.Damage{history.Bookmarked}},
}
