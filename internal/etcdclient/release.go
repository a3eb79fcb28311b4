package etcdclient

import (
	"strconv"
	"strings"
)

// release is a version of etcd: major, minor and patch. The zero value is an unknown one, which is taken to lack everything.
type release [3]int

// parseRelease reads a version such as 3.5.13 or 3.7.0-rc.1; one that cannot be read is unknown.
func parseRelease(text string) (r release) {
	text, _, _ = strings.Cut(text, "-")
	text, _, _ = strings.Cut(text, "+")
	parts := strings.Split(text, ".")
	if len(parts) < 2 {
		return release{}
	}
	for i, part := range parts[:min(len(parts), len(r))] {
		n, err := strconv.Atoi(part)
		if err != nil {
			return release{}
		}
		r[i] = n
	}
	return r
}

func (r release) known() bool { return r != release{} }

// minor names the release without its patch.
func (r release) minor() string { return strconv.Itoa(r[0]) + "." + strconv.Itoa(r[1]) }

// since says that it is the given release or a later one.
func (r release) since(first release) bool {
	for i := range r {
		if r[i] != first[i] {
			return r[i] > first[i]
		}
	}
	return true
}

// release is what the member runs, as it said last.
func (m *member) release() release {
	if text := m.version.Load(); text != nil {
		return parseRelease(*text)
	}
	return release{}
}

// What came with which release. What was mended later than a minor release's first is in several: since the patch of each, and
// since the next minor one.
var (
	hasRangeStream     = release{3, 7}
	hasDowngrade       = release{3, 5}
	hasAuthStatus      = release{3, 5}
	hasHashedPasswords = release{3, 5}
	hasQuorumMembers   = release{3, 5} // a list of members that a quorum confirms
)

// mended says that the release has a fault mended that 3.4 had up to one patch and 3.5 up to another.
func (r release) mended(patch34, patch35 int) bool {
	switch {
	case r[0] == 3 && r[1] == 4:
		return r[2] >= patch34
	case r[0] == 3 && r[1] == 5:
		return r[2] >= patch35
	default:
		return r.since(release{3, 6})
	}
}

// certifies says that a progress comes after the events that it covers (etcd-io/etcd#15220, #17566).
func (r release) certifies() bool { return r.mended(31, 13) }

// keepsCompacted says that a watch which begins at the revision of a compaction gets all of it: before, its deletions could be
// missing (etcd-io/etcd#18089, #19179).
func (r release) keepsCompacted() bool { return r.mended(36, 18) }

// WatchFaults are what the watches of a cluster lack while a member runs an old release.
type WatchFaults struct {
	// Uncertified: there is no Progress, since it might come ahead of the events.
	Uncertified bool
	// CompactedStarts: a watch that begins at the revision of a compaction may lack deletions of that revision, and is refused as
	// compacted.
	CompactedStarts bool
}

// WatchFaults looks at the members that are connected; while none is, nothing is said.
func (c *Client) WatchFaults() (f WatchFaults) {
	for _, class := range [...]class{classUnary, classWatch} {
		for _, conn := range c.pool.conns[class] {
			if conn.up.Load() {
				r := conn.member.Load().release()
				f.Uncertified = f.Uncertified || !r.certifies()
				f.CompactedStarts = f.CompactedStarts || !r.keepsCompacted()
			}
		}
	}
	return f
}
