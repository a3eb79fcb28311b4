package compat_test

import (
	"bytes"
	"encoding/base64"
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/authz"
	"github.com/etcdrest/etcdrest/internal/compat"
	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

var (
	tenantsSeed = flag.Uint64("tenants.seed", 0, "the seed of the tenants' random operations; 0 draws one")
	tenantsOps  = flag.Int("tenants.ops", 3000, "how many there are")
)

// TestTenantsAreLikeStoresOfTheirOwn has three tenants do random things through one gateway and, side by side, each on an
// etcd of its own through a gateway without namespaces: they get the same answers, but for what all of one etcd share, and
// nothing in an answer shows where a tenant's keys are, or what others have.
func TestTenantsAreLikeStoresOfTheirOwn(t *testing.T) {
	t.Parallel()
	seed := *tenantsSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano()) //nolint:gosec // the time is positive
	}
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // it must be reproducible
	names := []string{"t1", "t10", []string{"t1/", "t1%2f", "t1\xff"}[r.IntN(3)]}
	t.Logf("-tenants.seed=%d, tenants %q", seed, names)
	gate, _ := guard(t, named{}, authz.Rule{
		When: authz.When{Names: names}, Namespace: hidden + "{name}/", Grants: []authz.Grant{{Verbs: authz.All &^ authz.Admin}},
	})
	shared := startBehind(t, embedetcd.StartForTest(t), gate)
	tenants := make([]*tenant, len(names))
	for i, name := range names {
		alone := startWith(t, embedetcd.StartForTest(t), compat.Options{}, setup{feedless: true})
		tenants[i] = newTenant(t, name, fmt.Sprintf("mark%d-", i), r, [2]string{shared.url, alone.url})
	}
	for _, x := range tenants {
		x.secrets = encodings(hidden)
		for _, other := range tenants {
			if other != x {
				x.secrets = append(x.secrets, encodings(other.mark)...)
			}
		}
	}
	for n := range *tenantsOps {
		x := tenants[r.IntN(len(tenants))]
		x.at = fmt.Sprintf("-tenants.seed=%d, operation %d, of %q", seed, n, x.name)
		x.step()
	}
	for _, x := range tenants {
		t.Logf("%q: %v", x.name, x.done)
	}
}

// hidden is where the tenants' namespaces are; no tenant has such a key of its own.
const hidden = "hidden-home/"

// encodings are a text as an answer could show it: as it is, in hexadecimal, and in base64 wherever it begins there.
func encodings(text string) []string {
	all := []string{text, fmt.Sprintf("%x", text)}
	for shift := range 3 {
		padded := append(bytes.Repeat([]byte{0}, shift), text...)
		padded = padded[:len(padded)-len(padded)%3]
		all = append(all, base64.StdEncoding.EncodeToString(padded)[[]int{0, 2, 3}[shift]:])
	}
	return all
}

// twin is one thing in the two stores: what stands for it in the shared one, and in the tenant's own.
type twin [2]string

// tenant is one of the three, and what it knows of its two stores.
type tenant struct {
	t          *testing.T
	name, mark string
	r          *rand.Rand
	urls       [2]string
	// at says where we are, and secrets must not be in any answer of the shared store.
	at      string
	secrets []string

	// revisions are those of its own store by those of the shared one, moments some of them at which there was an answer.
	revisions map[string]string
	moments   []twin
	// leases are those that there are, ended those that were.
	leases, ended []*lease
	// holds are the locks and elections that it has, by name.
	holds map[string]*hold
	done  map[string]int
}

// lease is a lease, with its id in decimal, and in hexadecimal as /v1 writes it and as short as it gets.
type lease struct{ decimal, hex, short twin }

// hold is a place in a queue: the lease's, with the key of a lock, or the leader of an election, as JSON.
type hold struct {
	lease *lease
	proof twin
}

func newTenant(t *testing.T, name, mark string, r *rand.Rand, urls [2]string) *tenant {
	t.Helper()
	return &tenant{
		t: t, name: name, mark: mark, r: r, urls: urls,
		revisions: make(map[string]string), holds: make(map[string]*hold), done: make(map[string]int),
	}
}

// step does one random thing.
func (x *tenant) step() {
	type kind struct {
		name   string
		weight int
		do     func()
	}
	kinds := []kind{
		{"put", 20, x.put}, {"range", 18, x.readRange}, {"delete", 6, x.deleteRange}, {"txn", 14, x.txn},
		{"native put", 8, x.nativePut}, {"native read", 12, x.nativeRead}, {"native delete", 4, x.nativeDelete}, {"native txn", 6, x.nativeTxn},
		{"grant", 4, x.grant}, {"revoke", 3, x.revoke}, {"lease", 8, x.lookAtLease},
		{"lock", 5, x.lock}, {"unlock", 3, x.unlock}, {"native lock", 4, x.nativeLock},
		{"campaign", 3, x.campaign}, {"election", 4, x.election}, {"watch", 2, x.watch}, {"admin", 2, x.admin},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	n := x.r.IntN(total)
	for _, k := range kinds {
		if n -= k.weight; n < 0 {
			x.done[k.name]++
			k.do()
			return
		}
	}
}
