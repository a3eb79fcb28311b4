package epoch

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// state is what etcd keeps, under epochKey.
type state struct {
	// ID is the random part of the epoch.
	ID string `json:"id"`
	// Cluster is the id of the cluster that it was written in.
	Cluster string `json:"cluster_id"`
	position
	// Revision is the store's revision when the state was brought up to date.
	Revision int64 `json:"revision"`
	// Supersedes are the ids before this one, the newest first. A gateway that knew one of them adopts this; a state that
	// does not name what a gateway knew is from another, older history.
	Supersedes []string `json:"supersedes,omitempty"`
}

// position is how far the raft log is. It only grows within one history; a restore begins it again.
type position struct {
	Term  uint64 `json:"raft_term"`
	Index uint64 `json:"raft_index"`
}

func (p position) below(q position) bool {
	return p.Term < q.Term || (p.Term == q.Term && p.Index < q.Index)
}

const (
	maxSuperseded = 16
	maxEpochTries = 5
	// A position that lies below one that was seen is asked for positionLooks times, positionPause apart, before it is
	// believed: a member in an election can have told a term that came to nothing.
	positionLooks = 3
	positionPause = 100 * time.Millisecond
	// positionTimeout bounds the question for one member's position.
	positionTimeout = time.Second
)

// look reads the state, judges it, and brings it up to date by compare-and-swap when the term has changed or it is due.
// With renew it begins a new epoch. Where the state cannot be kept, the epoch is the cluster's id alone.
func (k *Keeper) look(ctx context.Context, known view, renew bool) (view, error) {
	refresh := known.id != "" && time.Now().After(known.refresh)
	for range maxEpochTries {
		s, err := k.see(ctx)
		if err != nil {
			return k.withoutState(ctx, err, renew)
		}
		fresh := renew || k.replaced(ctx, known, s)
		next := s.next(fresh, known.id)
		if fresh || refresh || next.Term != s.state.Term {
			header, err := k.write(ctx, s, next)
			if err != nil {
				return k.withoutState(ctx, err, renew)
			}
			if header == nil { // somebody else wrote first
				continue
			}
			s.header = *header
		}
		found := k.conclude(known, next, s.header)
		if known.id != "" && !fresh && !refresh {
			found.refresh = known.refresh
		}
		return found, nil
	}
	return view{}, errContended()
}

// sight is what one look has seen.
type sight struct {
	// floor is the highest revision seen before: every linearizable answer asked for later is at least that new.
	floor  int64
	header wire.Header
	// state is what is kept, the zero state when there is none or it cannot be read; modified is its mod revision.
	state    state
	modified int64
	// at is the position of the log, if it could be had.
	at          position
	hasPosition bool
}

func (k *Keeper) see(ctx context.Context) (*sight, error) {
	s := &sight{floor: k.Highest()}
	answer, err := k.store.Range(ctx, &wire.RangeRequest{Key: []byte(epochKey)})
	if err != nil {
		return nil, err
	}
	defer answer.Free()
	s.header = answer.Header
	if kv, ok := answer.KVs.First(); ok {
		s.modified = kv.ModRevision
		if json.Unmarshal(kv.Value, &s.state) != nil {
			s.state = state{} // not ours: it is replaced
		}
	}
	s.at, s.hasPosition = k.position(ctx, s.header)
	return s, nil
}

// next is the state brought up to date; fresh makes it a new epoch's.
func (s *sight) next(fresh bool, known string) *state {
	n := s.state
	n.Cluster, n.Revision = clusterText(s.header.ClusterID), s.header.Revision
	if s.hasPosition {
		n.position = s.at
	}
	if fresh {
		n.ID, n.Supersedes = randomID(), superseded(s.state.ID, known, s.state.Supersedes)
		if !s.hasPosition {
			n.position = position{Term: s.header.RaftTerm}
		}
	}
	return &n
}

// replaced tells whether there is no state yet, or what was seen is another history than what was known.
func (k *Keeper) replaced(ctx context.Context, known view, s *sight) bool {
	switch {
	case s.state.ID == "", s.state.Cluster != clusterText(s.header.ClusterID), s.header.Revision < s.state.Revision:
		return true
	case known.id == "":
		return k.fellBack(ctx, s, s.state.position)
	case known.id != s.state.ID:
		// Either another gateway has noticed already, and then what this one remembers is of the former history; or the
		// state is of an older history, which knows nothing of what this gateway knew.
		return !slices.Contains(s.state.Supersedes, known.id) || k.fellBack(ctx, s, s.state.position)
	case s.header.Revision < s.floor:
		return true
	}
	highest := s.state.position
	if highest.below(known.at) {
		highest = known.at
	}
	return k.fellBack(ctx, s, highest)
}

// fellBack tells whether the raft log is not as far as it was.
func (k *Keeper) fellBack(ctx context.Context, s *sight, was position) bool {
	for look := 1; s.hasPosition && s.at.below(was); look++ {
		if look == positionLooks {
			return true
		}
		select {
		case <-time.After(positionPause):
		case <-ctx.Done():
			return false
		}
		s.at, s.hasPosition = k.position(ctx, s.header)
	}
	return false
}

// position asks the member that has just answered a linearizable read how far its log is. Any other member may lag behind
// by any amount; this one has applied everything that was committed before the read.
func (k *Keeper) position(ctx context.Context, h wire.Header) (p position, ok bool) {
	for _, endpoint := range k.store.Endpoints() {
		status, err := k.status(ctx, endpoint)
		if err == nil && status.Header.MemberID == h.MemberID && status.Header.ClusterID == h.ClusterID {
			return position{Term: status.RaftTerm, Index: status.RaftIndex}, true
		}
	}
	return p, false
}

func (k *Keeper) status(ctx context.Context, endpoint string) (etcdclient.MemberStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, positionTimeout)
	defer cancel()
	return k.store.Status(ctx, endpoint)
}

// write puts the state if nobody has written it since it was seen; nil without an error means that somebody has.
func (k *Keeper) write(ctx context.Context, s *sight, next *state) (*wire.Header, error) {
	value, err := json.Marshal(next)
	if err != nil {
		return nil, err
	}
	answer, err := k.store.Txn(ctx, &wire.TxnRequest{
		If:   []wire.Compare{{Key: []byte(epochKey), Target: wire.TargetModRevision, Number: s.modified}}, // 0: there is none
		Then: []wire.Op{{Put: &wire.PutRequest{Key: []byte(epochKey), Value: value}}},
	})
	if err != nil {
		return nil, err
	}
	defer answer.Free()
	if !answer.Succeeded {
		return nil, nil //nolint:nilnil // a lost race is not an error
	}
	header := answer.Header
	return &header, nil
}

// conclude is what is known after a look. In another history than the known one, what was seen before is no measure.
func (k *Keeper) conclude(known view, s *state, h wire.Header) view {
	if known.id != s.ID {
		k.revision.Store(uint64(h.Revision)) //nolint:gosec // revisions are positive
		k.term.Store(h.RaftTerm)
	}
	k.cluster.Store(h.ClusterID)
	k.Observe(0, h)
	return view{
		text: s.Cluster + "." + s.ID, id: s.ID, cluster: h.ClusterID, term: k.term.Load(), at: s.position,
		revision: h.Revision, due: time.Now().Add(interval), refresh: time.Now().Add(refreshInterval),
	}
}

// withoutState is the epoch of a gateway whose etcd user may not keep the state; any other error stays one. A renewal that
// nothing can be written for fails.
func (k *Keeper) withoutState(ctx context.Context, cause error, renew bool) (view, error) {
	if renew || problem.From(cause).Code != problem.PermissionDenied {
		return view{}, cause
	}
	status, err := k.store.Status(ctx, "")
	if err != nil {
		return view{}, err
	}
	h := status.Header
	k.cluster.Store(h.ClusterID)
	k.term.Store(h.RaftTerm)
	return view{
		text: clusterText(h.ClusterID), cluster: h.ClusterID, term: h.RaftTerm,
		due: time.Now().Add(refreshInterval),
	}, nil
}

// superseded lists the ids before a new one, each once.
func superseded(stored, known string, before []string) []string {
	var out []string
	for _, id := range append([]string{stored, known}, before...) {
		if id != "" && !slices.Contains(out, id) && len(out) < maxSuperseded {
			out = append(out, id)
		}
	}
	return out
}

func clusterText(id uint64) string { return fmt.Sprintf("%016x", id) }

func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return hex.EncodeToString(b[:])
}
