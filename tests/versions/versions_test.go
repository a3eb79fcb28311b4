// Package versions_test runs one suite over every version of etcd that the gateway serves: the same calls are answered the same,
// but for what a version lacks, and that it says.
package versions_test

import (
	"flag"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/tests/harness"
)

var update = flag.Bool("update", false, "rewrite the golden file of the newest version's answers")

func TestMain(m *testing.M) { harness.Etcds(m, harness.Versions) }

// suite is everything that is asked, in this order: the later parts see what the earlier ones have left.
var suite = []struct {
	name string
	ask  func(*site)
}{
	{"keys", (*site).keys},
	{"lists", (*site).lists},
	{"history", (*site).history},
	{"transactions", (*site).transactions},
	{"transfers", (*site).transfers},
	{"leases", (*site).leases},
	{"locks", (*site).locks},
	{"watches", (*site).watches},
	{"compaction", (*site).compaction},
	{"cluster", (*site).cluster},
	{"maintenance", (*site).maintenance},
	{"v3", (*site).v3},
	{"users", (*site).users},
}

// TestEveryVersionAnswersTheSame: all versions are asked the same. The newest is the measure; where another answers
// otherwise, table lacks must say so.
func TestEveryVersionAnswersTheSame(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	told := map[harness.Version]*transcript{}
	t.Cleanup(func() {
		if !t.Failed() {
			compareAll(t, told)
		}
	})
	for _, v := range harness.Versions {
		t.Run(string(v), func(t *testing.T) {
			t.Parallel()
			s := start(t, v)
			for _, part := range suite {
				began := time.Now()
				part.ask(s)
				t.Logf("%s: %v", part.name, time.Since(began).Round(10*time.Millisecond))
			}
			mu.Lock()
			defer mu.Unlock()
			told[v] = s.told
		})
	}
}

// compareAll holds what the versions have told against the golden file, the newest's answers and table lacks.
func compareAll(t *testing.T, told map[harness.Version]*transcript) {
	t.Helper()
	measure := told[harness.Newest]
	golden(t, measure)
	t.Logf("%d answers of each of %v", len(measure.order), harness.Versions)
	for _, v := range harness.Versions[:len(harness.Versions)-1] {
		for shows := range lacks[v] {
			if _, shown := measure.answers[shows]; !shown {
				t.Errorf("table lacks, etcd %s: nothing shows %q", v, shows)
			}
		}
		for _, shows := range measure.order {
			compare(t, v, shows, told[v].answers[shows], measure.answers[shows])
		}
	}
}

// compare holds an answer of an older version against the newest's.
func compare(t *testing.T, v harness.Version, shows, got, newest string) {
	t.Helper()
	l, lacking := lacks[v][shows]
	diff := cmp.Diff(strings.Split(newest, "\n"), strings.Split(got, "\n"))
	switch {
	case !lacking && diff != "":
		t.Errorf("etcd %s, %s: got\n%s\nand from the newest\n%s", v, shows, got, newest)
	case lacking && diff == "":
		t.Errorf("etcd %s, %s: it answers as the newest does; table lacks is out of date", v, shows)
	case lacking:
		l.check(t, v, shows, got, newest)
	}
}

// golden holds the newest version's answers against the file, in which they can be read.
func golden(t *testing.T, measure *transcript) {
	t.Helper()
	var all strings.Builder
	for _, shows := range measure.order {
		all.WriteString("## " + shows + "\n" + measure.answers[shows] + "\n\n")
	}
	const name = "testdata/newest.txt"
	if *update {
		if err := os.WriteFile(name, []byte(all.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(kept), "\n"), strings.Split(all.String(), "\n")); diff != "" {
		t.Errorf("etcd %s answers otherwise than %s has it; -update rewrites it (-kept +got):\n%s", harness.Newest, name, diff)
	}
}
