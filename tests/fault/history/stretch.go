package history

import (
	"slices"
)

// unknown is the base of a stretch that has not been told yet.
const unknown = -1

// stretch is what came on a connection after one base: its start, the revision of `created`, or that of a snapshot.
type stretch struct {
	*checker

	base, last, bookmark int64
	seen                 map[int64][]Event // what came of each revision
	unopened             bool
}

func (c *checker) stretch(base int64) *stretch {
	return &stretch{checker: c, base: base, seen: map[int64][]Event{}}
}

// opened says whether the base is known, as it must be when something comes.
func (s *stretch) opened(m Message) bool {
	if s.base < 0 && !s.unopened {
		s.unopened = true
		s.report(Unopened, m.Revision, "%s before it is known what has been delivered", m.Kind)
	}
	return s.base >= 0
}

// created is where a stretch without a start begins. With a start it is a bookmark: a client may resume after it.
func (s *stretch) created(m Message, snapshot bool) {
	switch {
	case snapshot: // which `synced` completes
	case s.base < 0:
		s.base = m.Revision
	default:
		s.progress(m)
	}
}

func (s *stretch) events(m Message) {
	if !s.opened(m) {
		return
	}
	had, again := s.seen[m.Revision]
	s.seen[m.Revision] = append(slices.Clone(had), m.Events...)
	switch r := m.Revision; {
	case r <= s.base:
		s.report(Early, r, "the start is after %d", s.base)
	case again && part(m.Events, had):
		s.report(Duplicated, r, "it had come before, and %d after it", s.last)
	case again:
		s.report(Split, r, "%d events after the first %d", len(m.Events), len(had))
	case r < s.last:
		s.report(Reordered, r, "it came after %d", s.last)
	case r <= s.bookmark:
		s.report(Bookmarked, r, "it came after a bookmark of %d", s.bookmark)
	}
	s.last = max(s.last, m.Revision)
}

func (s *stretch) progress(m Message) {
	if !s.opened(m) {
		return
	}
	if m.Revision < s.last || m.Revision < s.bookmark {
		s.report(Bookmarked, m.Revision, "a bookmark after the revision %d and the bookmark %d", s.last, s.bookmark)
	}
	s.bookmark = max(s.bookmark, m.Revision)
}

// end judges what came as a whole, and moves the position.
func (s *stretch) end() {
	if s.base < 0 {
		return
	}
	reached := max(s.base, s.last, s.bookmark)
	for r := s.base + 1; r <= reached; r++ {
		want, got := s.stream.View.Of(s.log.At(r)), s.seen[r]
		if !slices.Equal(want, got) {
			s.differs(r, want, got)
		}
	}
	s.position = max(s.position, reached)
}

func (s *stretch) differs(revision int64, want, got []Event) {
	switch {
	case len(got) == 0:
		s.report(Lost, revision, "between %d and %d: %v", s.base, max(s.last, s.bookmark), want)
	case len(want) == 0:
		s.report(Foreign, revision, "nothing in the view happened: %v", got)
	case s.tolerable(want, got) || s.repeated(revision):
	case part(got, want) && len(got) < len(want):
		s.report(Torn, revision, "%d of %d events", len(got), len(want))
	default:
		s.report(Altered, revision, "got %v, want %v", got, want)
	}
}

// repeated says that the revision's second message has been reported, which is why its events differ.
func (s *stretch) repeated(revision int64) bool {
	return slices.ContainsFunc(s.faults, func(f Fault) bool {
		return f.Leg == s.index && f.Revision == revision && (f.Damage == Duplicated || f.Damage == Split)
	})
}

// tolerable says that only former states are missing, which etcd cannot tell any more: those of before a compaction.
func (s *stretch) tolerable(want, got []Event) bool {
	return slices.EqualFunc(want, got, func(w, g Event) bool {
		if g.Before == (Before{}) && w.Mod-1 < s.log.Compacted {
			w.Before = Before{}
		}
		return w == g
	})
}
