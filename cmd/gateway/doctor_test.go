package main

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/wire"
)

// A proxy that cleans paths, or decodes them once, is what makes keys arrive as others.
func TestDoctorFindsAProxyThatRewritesKeys(t *testing.T) {
	t.Parallel()
	g := dev(t)
	target, err := url.Parse(g.api)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		rewrite func(*http.Request)
		broken  []string
	}{
		"a faithful one": {func(*http.Request) {}, nil},
		"one that cleans": {func(r *http.Request) {
			r.URL.Path, r.URL.RawPath = path.Clean(r.URL.Path), ""
		}, []string{"a//b", "%2Fa"}},
		"one that decodes twice": {func(r *http.Request) {
			r.URL.Path, _ = url.PathUnescape(r.URL.Path)
			r.URL.RawPath = ""
		}, []string{"%252F"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
				c.rewrite(r.Out)
				r.SetURL(target)
			}})
			t.Cleanup(proxy.Close)
			out, err := output(t, "doctor", "--url="+proxy.URL)
			for _, key := range []string{"a//b", "%2Fa", "%252F"} {
				line := lineOf(out, "keys", key)
				if broken := slices.Contains(c.broken, key); broken != strings.Contains(line, " fail ") {
					t.Errorf("key %s: got %q, want found broken: %t", key, line, broken)
				}
			}
			if (err != nil) != (c.broken != nil) {
				t.Errorf("got %v, want failed: %t", err, c.broken != nil)
			}
		})
	}
	if a := call(t, nil, http.MethodGet, g.api+"/v1/kv?count=true", ""); !strings.Contains(a.body, `"count":0`) {
		t.Errorf("after the doctor: got %s, want that nothing was written", a.body)
	}
}

func lineOf(out, check, target string) string {
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == check && f[1] == target {
			return line
		}
	}
	return ""
}

func TestDoctorReadsAsTheUserThatIsConfigured(t *testing.T) {
	t.Parallel()
	etcd := embedetcd.StartForTest(t)
	enableAuth(t, etcd)
	out, err := output(t, "doctor", "--endpoints="+etcd.Endpoint())
	if err == nil || !strings.Contains(lineOf(out, "reach", etcd.Endpoint()), "etcd demands a user") {
		t.Errorf("as nobody: got %v\n%s\nwant that etcd demands a user", err, out)
	}
	out, err = output(t, "doctor", "--endpoints="+etcd.Endpoint(), "--etcd-user=root", "--etcd-password-file="+passwordFile(t))
	if err != nil {
		t.Errorf("as root: got %v\n%s\nwant no failure", err, out)
	}
}

func TestDoctorComparesMembers(t *testing.T) {
	t.Parallel()
	member := func(cluster, leader uint64, version string) memberExam {
		return memberExam{answered: true, status: etcdclient.MemberStatus{
			Header: wire.Header{ClusterID: cluster}, Leader: leader, Version: version,
		}}
	}
	for name, c := range map[string]struct {
		other memberExam
		want  string
	}{
		"two clusters": {member(2, 1, "3.7.3"), "belong to 2 different clusters"},
		"two versions": {member(1, 1, "3.6.1"), "run 2 different versions"},
		"two leaders":  {member(1, 2, "3.7.3"), "name 2 different leaders"},
		"agreement":    {member(1, 1, "3.7.3"), "name the same leader"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var r report
			examineAgreement([]memberExam{member(1, 1, "3.7.3"), c.other}, &r)
			if !slices.ContainsFunc(r.findings, func(f finding) bool { return strings.Contains(f.Detail, c.want) }) {
				t.Errorf("got %+v, want %q", r.findings, c.want)
			}
		})
	}
}

func TestDoctorOverTLSNamesTheEndOfEveryCertificate(t *testing.T) {
	t.Parallel()
	ca := newAuthority(t)
	cert, key := ca.issue(t, "etcd", 2)
	etcd := embedetcd.StartForTest(t, func(o *embedetcd.Options) { o.CertFile, o.KeyFile, o.ClientCAFile = cert, key, ca.file })
	out, err := output(t, "doctor", "--endpoints="+etcd.Endpoint(), "--etcd-cacert="+ca.file, "--etcd-cert="+cert, "--etcd-key="+key)
	if err != nil {
		t.Errorf("got %v\n%s\nwant warnings only: the certificates end within the hour", err, out)
	}
	for _, target := range []string{etcd.Endpoint(), cert, ca.file} {
		wantContains(t, "certificate "+target, lineOf(out, "certificate", target), "warn")
	}
}

func TestDoctorJudges(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		judge func(*memberExam)
		want  status
	}{
		"etcd 3.7":             {version("3.7.3"), statusOK},
		"etcd 3.5.13":          {version("3.5.13"), statusOK},
		"etcd 3.5.12":          {version("3.5.12"), statusWarn},
		"etcd 3.4.31":          {version("3.4.31"), statusOK},
		"etcd 3.4.30":          {version("3.4.30"), statusWarn},
		"etcd 3.3":             {version("3.3.27"), statusFail},
		"no version":           {version("x"), statusWarn},
		"quota at 79 %":        {quota(79), statusOK},
		"quota at 80 %":        {quota(80), statusWarn},
		"quota at 95 %":        {quota(95), statusFail},
		"ends in a year":       {func(m *memberExam) { m.expiry("", "", now.AddDate(1, 0, 0), now) }, statusOK},
		"ends in 13 days":      {func(m *memberExam) { m.expiry("", "", now.AddDate(0, 0, 13), now) }, statusWarn},
		"ended a second ago":   {func(m *memberExam) { m.expiry("", "", now.Add(-time.Second), now) }, statusFail},
		"clock":                {clock(0), statusOK},
		"clock a minute ahead": {clock(time.Minute), statusWarn},
		"clock a minute late":  {clock(-time.Minute), statusWarn},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var m memberExam
			c.judge(&m)
			if len(m.findings) != 1 || m.findings[0].Status != c.want {
				t.Errorf("got %+v, want %s", m.findings, c.want)
			}
		})
	}
}

func version(v string) func(*memberExam) {
	return func(m *memberExam) { m.status.Version = v; m.version() }
}

func quota(percent int64) func(*memberExam) {
	return func(m *memberExam) {
		m.status = etcdclient.MemberStatus{DBSize: percent << 20, DBSizeQuota: 100 << 20}
		m.quota()
	}
}

func clock(skew time.Duration) func(*memberExam) {
	return func(m *memberExam) {
		now := time.Now()
		m.judgeClock(now.Add(skew).UTC().Format(http.TimeFormat), now)
	}
}
