package history

import "time"

// Stream is what one client saw, over all the connections that it needed.
type Stream struct {
	Name string
	View View
	Legs []Leg
}

// Leg is what came over one connection.
type Leg struct {
	// Start is the first revision asked for. 0: the one after that which `created` names, or after the snapshot.
	Start    int64
	Snapshot bool
	Messages []Message
	// End is why it ended: a problem code, or in other words when there was none.
	End string
	// Compact is the compact revision when it ended as `compacted`.
	Compact int64
	Opened  time.Time
}

// Kind is a message's type.
type Kind string

// The kinds, as the wire names them.
const (
	Created  Kind = "created"
	Snapshot Kind = "snapshot"
	Synced   Kind = "synced"
	Reset    Kind = "reset"
	Events   Kind = "events"
	Progress Kind = "progress"
	Error    Kind = "error"
	End      Kind = "end"
)

// Message is one message of a watch.
type Message struct {
	Kind     Kind
	Revision int64
	Events   []Event
	KVs      []KeyValue
	At       time.Time
}

// Last is the last message that moved the leg forward: after its revision the client resumes. 0: none did.
func (l Leg) Last() (revision int64) {
	for _, m := range l.Messages {
		if m.Kind == Events || m.Kind == Progress || m.Kind == Synced {
			revision = max(revision, m.Revision)
		}
	}
	return revision
}
