package etcdclient

import (
	"context"
	"iter"
	"sync"

	"github.com/etcdrest/etcdrest/internal/problem"
)

// AuthLook finds out, look by look, whether what etcd's users may do can have changed. etcd judges a watch when it begins and
// never again, so that whoever keeps watches has to. The zero value has seen nothing. It is safe for concurrent use.
type AuthLook struct {
	mu sync.Mutex
	// seen is the revision of the last look.
	seen uint64
	// again says that the next look tells a change whatever it sees.
	again bool
}

// Changed looks. Those whose watches they are, by Client.AuthRevision say, are asked in turn until one is told: the revision is
// the cluster's. Two looks tell each change, since the member that judged at the first may not have come to it yet. That
// all who can be asked are refused is a change, too, and so is every look at an etcd that does not tell (3.4). While etcd cannot
// be asked there is none.
func (l *AuthLook) Changed(ctx context.Context, revisions iter.Seq[func(context.Context) (uint64, error)]) bool {
	refused := false
	for ask := range revisions {
		now, err := ask(ctx)
		switch {
		case err == nil:
			return l.heed(now)
		case problem.From(err).Code == problem.NotSupported:
			return true
		case ctx.Err() != nil:
			return refused
		}
		refused = refused || RefusesIdentity(err)
	}
	return refused
}

func (l *AuthLook) heed(now uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	moved, again := now != l.seen, l.again
	l.seen, l.again = now, moved
	return moved || again
}

// Again has the next look tell a change: not everybody could be judged.
func (l *AuthLook) Again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.again = true
}

// RefusesIdentity tells whether an error is etcd's word that somebody has no right, or is nobody it knows: no such user, another
// password, a token that does not count any more. It is false while etcd could not be asked.
func RefusesIdentity(err error) bool {
	e := problem.From(err)
	return e != nil && (e.Code == problem.PermissionDenied || e.Code == problem.Unauthenticated || e.Code == problem.AuthExpired)
}
