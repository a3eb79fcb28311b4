package versions_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// lack is how the answer of an older version differs from the newest's.
type lack struct {
	// since is the version that has it: the answer is 501 not_supported and names it.
	since harness.Version
	// otherwise is how the answer may differ where it is not a refusal: the words that it has and the newest's has not, or the other way
	// around when it begins with a minus.
	otherwise []string
	// earlier is that the answer is that of an earlier revision.
	earlier bool
	why     string
}

var aRevision = regexp.MustCompile(`(?i)(revision"?[:=])\d+`)

// check holds the answer to the row.
func (l lack) check(t *testing.T, v harness.Version, shows, got, newest string) {
	t.Helper()
	if l.since != "" {
		if !strings.HasPrefix(got, "501 ") || !strings.Contains(got, "etcd "+string(l.since)) {
			t.Errorf("etcd %s, %s: got %s, want 501 not_supported that names etcd %s", v, shows, got, l.since)
		}
		return
	}
	if l.earlier {
		if aRevision.ReplaceAllString(got, "$1") != aRevision.ReplaceAllString(newest, "$1") {
			t.Errorf("etcd %s, %s: more than the revision differs: %s and, of the newest, %s", v, shows, got, newest)
		}
		return
	}
	if len(l.otherwise) == 0 {
		t.Errorf("etcd %s, %s: the row says neither which version has it nor how it differs", v, shows)
	}
	for _, words := range l.otherwise {
		has, lacks := got, newest
		if rest, minus := strings.CutPrefix(words, "-"); minus {
			words, has, lacks = rest, newest, got
		}
		if !strings.Contains(has, words) || strings.Contains(lacks, words) {
			t.Errorf("etcd %s, %s: %q is not the difference of %s and, of the newest, %s", v, shows, words, got, newest)
		}
	}
}

// lacks is all that older versions answer otherwise than the newest, and why. docs/reference/versions.md tells it to users.
var lacks = map[harness.Version]map[string]lack{
	"3.4": {
		"all lives of a key":                                {since: "3.4.31", why: noProgress},
		"all lives of a key that never was":                 {since: "3.4.31", why: noProgress},
		"all lives of a key, as far as they are known":      {since: "3.4.31", why: noProgress},
		"a poll of what never was":                          {earlier: true, why: noProgress},
		"a watch from the compaction on":                    {otherwise: []string{`"code":"compacted","compact_revision":`}, why: lostDeletions},
		"a poll from the compaction on":                     {otherwise: []string{`"code":"compacted","compact_revision":`}, why: lostDeletions},
		"the cluster":                                       {otherwise: []string{`-"db_size_quota":`, `-"storage_version":`}, why: notTold},
		"root looks at the cluster":                         {otherwise: []string{`-"db_size_quota":`, `-"storage_version":`}, why: notTold},
		"the versions":                                      {otherwise: []string{`-"storage":`}, why: notTold},
		"the alarms":                                        {otherwise: []string{`-Etcd-Revision=`}, why: notTold},
		"the format of a snapshot is told":                  {otherwise: []string{"false"}, why: notTold},
		"a downgrade to what cannot be":                     {since: "3.5", why: noCall},
		"a downgrade to what is no version":                 {since: "3.5", why: noCall},
		"the end of a downgrade that was never begun":       {since: "3.5", why: noCall},
		"/v3: downgrade":                                    {since: "3.5", why: noCall},
		"/v3: hashkv":                                       {otherwise: []string{`-"hash_revision":`}, why: notTold},
		"/v3: status":                                       {otherwise: []string{`-"dbSizeQuota":`, `-"storageVersion":`, `-"downgradeInfo":`}, why: notTold},
		"/v3: auth status":                                  {since: "3.5", why: noCall},
		"authentication is off":                             {since: "3.5", why: noCall},
		"authentication is off again":                       {since: "3.5", why: noCall},
		"authentication is on":                              {since: "3.5", why: noCall},
		"authentication is on, to a gateway without a user": {since: "3.5", why: noCall},
		"/v3: a user by a hash of the password":             {since: "3.5", why: "it would make a user without a password of it"},
		"/v3: a password by its hash":                       {since: "3.5", why: "it would take the password away"},
		"/v3: the users there are":                          {otherwise: []string{`-"hashed"`}, why: "that user was not made"},
		"a user by a hash logs in":                          {otherwise: []string{`"code":"unauthenticated"`}, why: "that user was not made"},
	},
	"3.5": {
		"the cluster":                      {otherwise: []string{`-"db_size_quota":`, `-"storage_version":`}, why: notTold},
		"root looks at the cluster":        {otherwise: []string{`-"db_size_quota":`, `-"storage_version":`}, why: notTold},
		"the versions":                     {otherwise: []string{`-"storage":`}, why: notTold},
		"the format of a snapshot is told": {otherwise: []string{"false"}, why: notTold},
		"the end of a downgrade that was never begun": {
			otherwise: []string{`"grpc_message":"etcdserver: no inflight downgrade job"`}, why: "later ones take it for done",
		},
		"/v3: hashkv": {otherwise: []string{`-"hash_revision":`}, why: notTold},
		"/v3: status": {otherwise: []string{`-"dbSizeQuota":`, `-"storageVersion":`, `-"downgradeInfo":`}, why: notTold},
		"authentication is on, to a gateway without a user": {otherwise: []string{`-"auth_revision":`}, why: "it refuses to tell, which tells"},
	},
	"3.6": {
		"the cluster":               {otherwise: []string{`"storage_version":"3.6.0"`}, why: "it is what it is"},
		"root looks at the cluster": {otherwise: []string{`"storage_version":"3.6.0"`}, why: "it is what it is"},
		"the versions":              {otherwise: []string{`"storage":"3.6.0"`}, why: "it is what it is"},
		"/v3: status":               {otherwise: []string{`"storageVersion":"3.6.0"`}, why: "it is what it is"},
		"authentication is on, to a gateway without a user": {otherwise: []string{`-"auth_revision":`}, why: "it refuses to tell, which tells"},
	},
}

// Why, of several rows.
const (
	noCall        = "it does not have the call"
	notTold       = "it does not tell"
	noProgress    = "its progress may overtake events, so that nothing certifies that there are no more"
	lostDeletions = "it forgets deletions at the revision of a compaction"
)
