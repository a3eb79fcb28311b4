package history

import "fmt"

// Damage is what can be wrong with a stream.
type Damage string

// What a stream is judged for.
const (
	Lost       Damage = "lost"       // a revision never came, though a later one, a bookmark or the end of the run says so
	Duplicated Damage = "duplicated" // it came twice
	Reordered  Damage = "reordered"  // it came after a later one
	Split      Damage = "split"      // it came in several messages
	Torn       Damage = "torn"       // only a part of it came
	Altered    Damage = "altered"    // its events are not those that happened
	Foreign    Damage = "foreign"    // nothing in the view happened at that revision
	Early      Damage = "early"      // it lies before the start
	Bookmarked Damage = "bookmarked" // it came after a bookmark that covers it, or a bookmark went back
	Untrue     Damage = "untrue"     // a snapshot is not the state at its revision
	Unopened   Damage = "unopened"   // events without `created` or `synced` before them
	Unjust     Damage = "unjust"     // told compacted, though the start was not
	Unresumed  Damage = "unresumed"  // a connection did not go on where the one before ended
)

// Fault is one thing that is wrong with a stream.
type Fault struct {
	Damage   Damage
	Stream   string
	Leg      int
	Revision int64
	Detail   string
}

// String tells all of it.
func (f Fault) String() string {
	return fmt.Sprintf("%s, connection %d: revision %d %s: %s", f.Stream, f.Leg, f.Revision, f.Damage, f.Detail)
}
