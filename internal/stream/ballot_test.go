package stream_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/etcdrest/etcdrest/internal/stream"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// standing is a ballot as a map: the model.
type standing map[string]wire.KeyValue

func (s standing) leader() (key, value string) {
	var first *wire.KeyValue
	for _, kv := range s {
		if first == nil || kv.CreateRevision < first.CreateRevision ||
			kv.CreateRevision == first.CreateRevision && string(kv.Key) < string(first.Key) {
			first = &kv
		}
	}
	if first == nil {
		return "", ""
	}
	return string(first.Key), string(first.Value)
}

// A ballot says who leads as a walk over all candidates does, whatever comes and goes, and former ballots stay as they were.
func TestABallotKnowsWhoStandsLongest(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		random := rand.New(rand.NewPCG(seed, 1))
		model, ballot := make(standing), stream.Ballot{}
		type past struct {
			ballot     stream.Ballot
			key, value string
		}
		var before []past
		keys := []int{5, 60, 1000}[seed%3]
		for revision := int64(1); revision < 3000; revision++ {
			var events []wire.Event
			for range 1 + random.IntN(3) {
				key := fmt.Sprintf("e/%x", 0x694d9b1f2a3c0000+random.IntN(keys))
				old, stands := model[key]
				if stands && random.IntN(2) == 0 {
					delete(model, key)
					events = append(events, wire.Event{Delete: true, KV: wire.KeyValue{Key: []byte(key), ModRevision: revision}})
					continue
				}
				kv := wire.KeyValue{Key: []byte(key), Value: fmt.Append(nil, revision), CreateRevision: revision, ModRevision: revision}
				if stands {
					kv.CreateRevision = old.CreateRevision
				}
				model[key] = kv
				events = append(events, wire.Event{KV: kv})
			}
			ballot = ballot.After(events...)
			key, value := model.leader()
			if gotKey, gotValue := ballot.Leader(); gotKey != key || gotValue != value {
				t.Fatalf("seed %d, revision %d: got %s=%s, want %s=%s", seed, revision, gotKey, gotValue, key, value)
			}
			size := 0
			for key, kv := range model {
				size += len(key) + len(kv.Value)
			}
			count, bytes, depth := ballot.Size()
			if count != len(model) || bytes != size || depth > 40 {
				t.Fatalf("seed %d: got %d candidates of %d bytes, %d deep; want %d of %d, at most 40 deep", seed, count, bytes, depth, len(model), size)
			}
			before = append(before, past{ballot, key, value})
		}
		for i, p := range before {
			if key, value := p.ballot.Leader(); key != p.key || value != p.value {
				t.Fatalf("seed %d: the ballot of revision %d has become %s=%s, was %s=%s", seed, i+1, key, value, p.key, p.value)
			}
		}
	}
}
