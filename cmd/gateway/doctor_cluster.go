package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-semver/semver"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// examineCluster asks every endpoint about itself, and the cluster about the whole.
func examineCluster(ctx context.Context, c Config, all *report) error {
	members := make([]memberExam, len(c.Endpoints))
	var wg sync.WaitGroup
	for i, endpoint := range c.Endpoints {
		wg.Go(func() { members[i] = examineMember(ctx, c, endpoint) })
	}
	wg.Wait()
	answered := false
	for _, m := range members {
		all.findings = append(all.findings, m.findings...)
		answered = answered || m.answered
	}
	if !answered {
		return nil
	}
	examineAgreement(members, all)

	client, err := connect(c, slog.New(slog.DiscardHandler), new(logs)) //nolint:contextcheck // the client has a life of its own, which Close ends
	if err != nil {
		return err
	}
	defer closeQuietly(client)
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	examineMembership(ctx, c, client, all)
	examineAlarms(ctx, client, all)
	examineAccess(ctx, c, client, all)
	return nil
}

// memberExam is what one endpoint said.
type memberExam struct {
	report

	endpoint string
	answered bool
	status   etcdclient.MemberStatus
}

// examineMember asks over a client of its own, so that what is told is about this member and no other.
func examineMember(ctx context.Context, c Config, endpoint string) memberExam {
	m := memberExam{endpoint: endpoint}
	ctx, cancel := context.WithTimeout(ctx, c.DialTimeout)
	defer cancel()
	c.Endpoints = []string{endpoint}
	client, err := connect(c, slog.New(slog.DiscardHandler), new(logs)) //nolint:contextcheck // the client has a life of its own, which Close ends
	if err != nil {
		m.add("reach", endpoint, statusFail, "%v", err)
		return m
	}
	defer closeQuietly(client)
	started := time.Now()
	if m.status, err = client.Status(ctx, endpoint); err != nil {
		m.add("reach", endpoint, statusFail, "gives no status: %s", why(err))
		return m
	}
	m.answered = true
	m.add("reach", endpoint, statusOK, "member %016x answered in %s", m.status.Header.MemberID, time.Since(started).Round(100*time.Microsecond))
	m.version()
	m.quota()
	if m.status.Leader == 0 {
		m.add("leader", endpoint, statusFail, "the member knows no leader: the cluster has no quorum, or the member is cut off from it")
	}
	m.clock(ctx, c)
	return m
}

func (m *memberExam) version() {
	v, err := semver.NewVersion(m.status.Version)
	switch {
	case err != nil:
		m.add("version", m.endpoint, statusWarn, "the member calls its version %q", m.status.Version)
	case v.LessThan(semver.Version{Major: 3, Minor: 4}):
		m.add("version", m.endpoint, statusFail, "etcd %s is too old; use 3.4 or newer", v)
	case !certifiesProgress(*v):
		m.add("version", m.endpoint, statusWarn, "etcd %s does not certify the progress of idle watches; use 3.4.31, 3.5.13 or newer", v)
	default:
		m.add("version", m.endpoint, statusOK, "etcd %s", v)
	}
}

// certifiesProgress tells whether a progress notification means that everything before it has been sent (etcd#17566).
func certifiesProgress(v semver.Version) bool {
	if v.Major == 3 && v.Minor == 4 {
		return v.Patch >= 31
	}
	return !v.LessThan(semver.Version{Major: 3, Minor: 5, Patch: 13})
}

func (m *memberExam) quota() {
	s := m.status
	if s.DBSizeQuota == 0 {
		m.add("quota", m.endpoint, statusOK, "database %s, of which %s is in use; this etcd does not tell its quota", people(s.DBSize), people(s.DBSizeInUse))
		return
	}
	used := 100 * s.DBSize / s.DBSizeQuota
	judged, advice := statusOK, ""
	switch {
	case used >= 95:
		judged, advice = statusFail, "; at 100 % writes are refused: compact, then defragment, or raise the quota"
	case used >= 80:
		judged, advice = statusWarn, "; compact and defragment, or raise the quota"
	}
	m.add("quota", m.endpoint, judged, "database %s, of which %s is in use, is %d %% of the quota of %s%s",
		people(s.DBSize), people(s.DBSizeInUse), used, people(s.DBSizeQuota), advice)
}

// skewAllowed is more than the resolution of an HTTP date, and less than the leeway of most tokens.
const skewAllowed = 3 * time.Second

// clock compares this machine's clock with the date that the member's own HTTP answers bear; etcd has no other way to
// ask. The same connection shows when the member's certificate ends.
func (m *memberExam) clock(ctx context.Context, c Config) {
	tlsConfig, _, err := c.clientTLS(slog.New(slog.DiscardHandler))
	if err != nil || !strings.HasPrefix(m.endpoint, "http") {
		return
	}
	transport := &http.Transport{TLSClientConfig: tlsConfig}
	defer transport.CloseIdleConnections()
	asked := time.Now()
	answer, err := fetch(ctx, transport, strings.TrimSuffix(m.endpoint, "/")+"/version")
	if err != nil {
		m.add("clock", m.endpoint, statusOK, "unknown: the endpoint serves no HTTP beside gRPC")
		return
	}
	if !answer.ends.IsZero() {
		m.expiry("certificate", m.endpoint, answer.ends, time.Now())
	}
	m.judgeClock(answer.date, asked)
}

func (m *memberExam) judgeClock(date string, asked time.Time) {
	theirs, err := http.ParseTime(date)
	if err != nil {
		m.add("clock", m.endpoint, statusOK, "unknown: the answer bears no date")
		return
	}
	if skew := theirs.Sub(asked).Round(time.Second); skew.Abs() > skewAllowed {
		m.add("clock", m.endpoint, statusWarn, "differs by %s from this machine's; tokens and certificates are judged by the clock", skew)
	} else {
		m.add("clock", m.endpoint, statusOK, "agrees with this machine's")
	}
}

// examineAgreement compares what the members said.
func examineAgreement(members []memberExam, all *report) {
	clusters, versions, leaders := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, m := range members {
		if m.answered {
			clusters[fmt.Sprintf("%016x", m.status.Header.ClusterID)] = true
			versions[m.status.Version] = true
			leaders[fmt.Sprintf("%016x", m.status.Leader)] = true
		}
	}
	if len(clusters) > 1 {
		all.add("cluster", "endpoints", statusFail, "the endpoints belong to %d different clusters", len(clusters))
	}
	if len(versions) > 1 {
		all.add("version", "endpoints", statusWarn, "the members run %d different versions; finish the upgrade", len(versions))
	}
	switch len(leaders) {
	case 0:
	case 1:
		all.add("leader", "cluster", statusOK, "all members that answered name the same leader")
	default:
		all.add("leader", "cluster", statusWarn, "the members name %d different leaders; an election may be under way", len(leaders))
	}
}

func examineMembership(ctx context.Context, c Config, client *etcdclient.Client, all *report) {
	members, _, err := client.Members(ctx)
	if err != nil {
		all.add("members", "cluster", statusFail, "the members cannot be listed: %s", why(err))
		return
	}
	var missing []string
	for _, m := range members {
		if !m.Learner && !slices.ContainsFunc(m.ClientURLs, func(u string) bool { return slices.Contains(c.Endpoints, u) }) {
			missing = append(missing, m.Name)
		}
	}
	if len(missing) > 0 && len(members) > len(c.Endpoints) {
		all.add("members", "cluster", statusWarn, "%d members; not in --endpoints: %s", len(members), strings.Join(missing, ", "))
		return
	}
	all.add("members", "cluster", statusOK, "%d members", len(members))
}

func examineAlarms(ctx context.Context, client *etcdclient.Client, all *report) {
	alarms, _, err := client.Alarms(ctx)
	if err != nil {
		all.add("alarms", "cluster", statusFail, "cannot be listed: %s", why(err))
		return
	}
	for _, a := range alarms {
		all.add("alarms", "cluster", statusFail, "member %016x has raised %s", a.MemberID, a.Kind)
	}
	if len(alarms) == 0 {
		all.add("alarms", "cluster", statusOK, "none")
	}
}

// examineAccess reads as the gateway will: with its user, from a quorum.
func examineAccess(ctx context.Context, c Config, client *etcdclient.Client, all *report) {
	who := "nobody"
	if c.EtcdUser != "" {
		who = "user " + c.EtcdUser
	}
	started := time.Now()
	answer, err := client.Range(ctx, &wire.RangeRequest{Key: []byte("health"), CountOnly: true})
	if problem.From(err) != nil && problem.From(err).Code == problem.PermissionDenied {
		all.add("access", "cluster", statusOK, "etcd answers %s, who may not read the key health; no harm in that", who)
		return
	}
	if err != nil {
		all.add("access", "cluster", statusFail, "a read as %s fails: %s", who, why(err))
		return
	}
	answer.Free()
	all.add("access", "cluster", statusOK, "a linearizable read as %s took %s", who, time.Since(started).Round(100*time.Microsecond))
}

// why is an error for the operator: the problem's sentence and, in brackets, its cause.
func why(err error) string {
	p := problem.From(err)
	if cause := p.Unwrap(); cause != nil {
		return fmt.Sprintf("%s (%v)", p.Detail, cause)
	}
	return p.Detail
}

// people writes a size for people.
func people(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	size, prefix := float64(n)/unit, "KiB"
	for _, next := range []string{"MiB", "GiB", "TiB"} {
		if size < unit {
			break
		}
		size, prefix = size/unit, next
	}
	return fmt.Sprintf("%.1f %s", size, prefix)
}
