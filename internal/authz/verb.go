// Package authz decides what a caller may do: which rule of the policy is his, the namespace that his keys are in, the
// ranges of keys that each verb is granted on, and the identity that etcd sees.
package authz

import (
	"fmt"
	"strings"
)

// Verb is something that can be granted on a range of keys; verbs can be joined.
type Verb uint8

// The verbs. Admin is for what has no namespace: the cluster, its history, etcd's users, the gateway itself.
const (
	Read Verb = 1 << iota
	Write
	Watch
	Lease
	Lock
	Admin

	// All is every verb.
	All = Read | Write | Watch | Lease | Lock | Admin
)

// verbs are the single verbs, in the order of their bits.
var verbs = [...]Verb{Read, Write, Watch, Lease, Lock, Admin}

var verbWords = [...]string{"read", "write", "watch", "lease", "lock", "admin"}

// Words are the names of the verbs in v.
func (v Verb) Words() []string {
	var words []string
	for i, one := range verbs {
		if v&one != 0 {
			words = append(words, verbWords[i])
		}
	}
	return words
}

// String joins the names.
func (v Verb) String() string { return strings.Join(v.Words(), ", ") }

// ParseVerb reads one verb.
func ParseVerb(word string) (Verb, error) {
	for i, known := range verbWords {
		if word == known {
			return verbs[i], nil
		}
	}
	return 0, fmt.Errorf("%q is no verb; the verbs are %s", word, All)
}
