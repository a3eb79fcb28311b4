package handlers_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/handlers"
)

// fill writes and deletes, so that the database has more than it needs.
func (g *gateway) fill(t testing.TB) {
	t.Helper()
	big := strings.Repeat("x", 64<<10)
	for i := range 20 {
		if _, err := g.oracle.Put(t.Context(), fmt.Sprintf("fill/%d", i), big); err != nil {
			t.Fatal(err)
		}
	}
	r, err := g.oracle.Delete(t.Context(), "fill/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.oracle.Compact(t.Context(), r.Header.Revision, clientv3.WithCompactPhysical()); err != nil {
		t.Fatal(err)
	}
}

func TestDefragmentingGivesSpaceBack(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.fill(t)
	m, before := g.only(t)
	lines := g.do(t, "POST", "/v1/maintenance/defragment", "").want(t, 200).lines(t)
	if len(lines) != 3 || lines[0]["type"] != "started" || lines[0]["member"] != hexID(m.ID) || lines[1]["type"] != "defragmented" || lines[2]["type"] != "end" {
		t.Fatalf("lines: got %v, want started, defragmented, end", lines)
	}
	_, after := g.only(t)
	freed, _ := lines[2]["freed_bytes"].(jsonNumber).Int64()
	if after.DbSize >= before.DbSize || freed <= 0 || lines[2]["members"] != num(1) {
		t.Errorf("the database had %d bytes and has %d; the answer says %v", before.DbSize, after.DbSize, lines[2])
	}
	one := g.do(t, "POST", "/v1/maintenance/defragment", `{"member":"`+hexID(m.ID)+`"}`).want(t, 200).lines(t)
	if len(one) != 3 || one[2]["type"] != "end" {
		t.Errorf("of one member: got %v", one)
	}
	if doc := g.do(t, "POST", "/v1/maintenance/defragment", `{"member":"1"}`).problem(t, 404, "member_not_found"); doc["outcome"] != "not_applied" {
		t.Errorf("an unknown member: got %v", doc)
	}
	g.do(t, "POST", "/v1/maintenance/defragment", `{"members":[]}`).problem(t, 400, "unknown_field")

	learner, err := g.oracle.MemberAddAsLearner(t.Context(), []string{"http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	g.do(t, "POST", "/v1/maintenance/defragment", `{"member":"`+hexID(learner.Member.ID)+`"}`).problem(t, 409, "failed_precondition")
	if lines := g.do(t, "POST", "/v1/maintenance/defragment", "{}").want(t, 200).lines(t); len(lines) != 3 {
		t.Errorf("beside a learner: got %v, want the voter alone", lines)
	}
}

func TestHashesAreThoseOfTheOfficialClient(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"1"}`).want(t, 201)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"2"}`).want(t, 200)
	for revision, query := range map[int64]string{3: "", 2: "?revision=2"} {
		want, err := g.oracle.HashKV(t.Context(), g.etcd.Endpoint(), revision)
		if err != nil {
			t.Fatal(err)
		}
		doc := g.do(t, "GET", "/v1/maintenance/hash"+query, "").want(t, 200).json(t)
		one := doc["hashes"].([]any)[0].(map[string]any)
		if one["hash"] != num(int64(want.Hash)) || doc["revision"] != num(revision) || doc["mismatch"] != false {
			t.Errorf("at %d: got %v, want %v", revision, doc, want)
		}
	}
	m, _ := g.only(t)
	if doc := g.do(t, "GET", "/v1/maintenance/hash?of=database&member="+hexID(m.ID), "").want(t, 200).json(t); len(doc["hashes"].([]any)) != 1 {
		t.Errorf("of the database: got %v", doc)
	}
	g.do(t, "GET", "/v1/maintenance/hash?revision=9", "").problem(t, 409, "future_revision")
	g.do(t, "POST", "/v1/maintenance/compact", `{"revision":3}`).want(t, 200)
	g.do(t, "GET", "/v1/maintenance/hash?revision=2", "").problem(t, 410, "compacted")
	g.do(t, "GET", "/v1/maintenance/hash?member=1", "").problem(t, 404, "member_not_found")
	g.do(t, "GET", "/v1/maintenance/hash?of=database&revision=2", "").problem(t, 400, "invalid_parameter")
}

func TestADowngradeIsAskedFor(t *testing.T) {
	t.Parallel()
	g := start(t)
	if doc := g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"validate","version":"3.6"}`).want(t, 200).json(t); doc["version"] != "3.7" && doc["version"] != "3.7.0" {
		t.Errorf("validate: got %v, want the cluster's version", doc)
	}
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"validate","version":"3.2"}`).problem(t, 400, "invalid_argument")
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"validate","version":"new"}`).problem(t, 400, "invalid_argument")
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"validate"}`).problem(t, 400, "invalid_argument")
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"begin","version":"3.6"}`).problem(t, 400, "invalid_argument")
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"cancel","version":"3.6"}`).problem(t, 400, "invalid_argument")

	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"enable","version":"3.6"}`).want(t, 200)
	doc := g.do(t, "GET", "/v1/cluster", "").want(t, 200).json(t)
	if its := doc["members"].([]any)[0].(map[string]any)["status"].(map[string]any); its["downgrading_to"] != "3.6.0" {
		t.Errorf("while it is downgraded: got %v", its)
	}
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"enable","version":"3.6"}`).problem(t, 409, "failed_precondition")
	g.do(t, "POST", "/v1/maintenance/downgrade", `{"action":"cancel"}`).want(t, 200)
}

func TestASnapshotIsWhatEtcdctlSaves(t *testing.T) {
	t.Parallel()
	g := start(t)
	g.do(t, "PUT", "/v1/kv/k", `{"value":"in the snapshot"}`).want(t, 201)
	a := g.do(t, "GET", "/v1/maintenance/snapshot", "").want(t, 200)
	file, sum := a.body[:len(a.body)-sha256.Size], a.body[len(a.body)-sha256.Size:]
	if got := sha256.Sum256(file); string(got[:]) != string(sum) {
		t.Errorf("the hash at the end is not that of the file")
	}
	if !strings.Contains(string(file), "in the snapshot") || len(file)%512 != 0 {
		t.Errorf("the file has %d bytes, and the value: %t", len(file), strings.Contains(string(file), "in the snapshot"))
	}
	if a.header.Get("Content-Length") != fmt.Sprint(len(a.body)) ||
		!strings.HasPrefix(a.header.Get("Content-Disposition"), "attachment; filename=\"etcd-snapshot-") || a.header.Get("Accept-Ranges") != "none" {
		t.Errorf("headers: got %v", a.header)
	}
	in, err := g.oracle.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if theirs, err := io.ReadAll(in); err != nil || len(theirs) != len(a.body) {
		t.Errorf("the official client's has %d bytes, %v; want %d", len(theirs), err, len(a.body))
	}
	g.do(t, "GET", "/v1/maintenance/snapshot", "", "Range: bytes=5-").problem(t, 400, "invalid_parameter")
	m, _ := g.only(t)
	g.do(t, "GET", "/v1/maintenance/snapshot?member="+hexID(m.ID), "").want(t, 200)
	g.do(t, "GET", "/v1/maintenance/snapshot?member=1", "").problem(t, 404, "member_not_found")
	if h := g.do(t, "HEAD", "/v1/maintenance/snapshot", "").want(t, 200); h.header.Get("Content-Length") != "" || h.header.Get("Content-Disposition") == "" {
		t.Errorf("HEAD: got %v", h.header)
	}
}

// badSnapshots is an etcd whose snapshots are what the test says.
type badSnapshots struct {
	pb.UnimplementedMaintenanceServer

	send func(pb.Maintenance_SnapshotServer) error
}

func (b badSnapshots) Status(context.Context, *pb.StatusRequest) (*pb.StatusResponse, error) {
	return &pb.StatusResponse{Header: &pb.ResponseHeader{ClusterId: 1, MemberId: 1}, Version: "3.7.3", Leader: 1}, nil
}

func (b badSnapshots) Snapshot(_ *pb.SnapshotRequest, s pb.Maintenance_SnapshotServer) error {
	return b.send(s)
}

// otherSnapshots is a backend with the snapshots of another client.
type otherSnapshots struct {
	*etcdclient.Client

	of *etcdclient.Client
}

func (o otherSnapshots) Snapshot(ctx context.Context, m *etcdclient.Member) (*etcdclient.Snapshot, error) {
	return o.of.Snapshot(ctx, m)
}

// TestABadSnapshotNeverLooksWhole: whatever is wrong with it, the caller's read fails, and the hash is not in what it got.
func TestABadSnapshotNeverLooksWhole(t *testing.T) {
	t.Parallel()
	file := []byte(strings.Repeat("etcd", 1024))
	sum := sha256.Sum256(file)
	pieces := func(remaining uint64, blobs ...[]byte) func(pb.Maintenance_SnapshotServer) error {
		return func(s pb.Maintenance_SnapshotServer) error {
			for _, b := range blobs {
				if err := s.Send(&pb.SnapshotResponse{Blob: b, RemainingBytes: remaining}); err != nil {
					return err
				}
				remaining -= min(remaining, uint64(len(b)))
			}
			return nil
		}
	}
	half, rest := file[:2000], file[2000:]
	left := uint64(len(rest))
	wrong := sum
	wrong[0] ^= 1
	etcd := embedetcd.StartForTest(t)
	for name, tt := range map[string]struct {
		send func(pb.Maintenance_SnapshotServer) error
		good bool
	}{
		"whole":          {pieces(left, half, rest, sum[:]), true},
		"hash in pieces": {pieces(left, half, append(append([]byte{}, rest...), sum[:10]...), sum[10:]), true},
		"short":          {pieces(left, half), false},
		"without hash":   {pieces(left, half, rest), false},
		"half a hash":    {pieces(left, half, rest, sum[:16]), false},
		"wrong hash":     {pieces(left, half, rest, wrong[:]), false},
		"more than that": {pieces(left, half, rest, sum[:], []byte("x")), false},
		"cut at the end": {func(s pb.Maintenance_SnapshotServer) error {
			_ = pieces(left, half, rest, sum[:])(s)
			return status.Error(codes.Unavailable, "gone")
		}, false},
		"cut in the half": {func(s pb.Maintenance_SnapshotServer) error {
			_ = pieces(left, half)(s)
			return status.Error(codes.Unavailable, "gone")
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			server := grpc.NewServer()
			pb.RegisterMaintenanceServer(server, badSnapshots{send: tt.send})
			served := make(chan struct{})
			go func() {
				defer close(served)
				_ = server.Serve(l)
			}()
			t.Cleanup(func() { server.Stop(); <-served })
			bad, err := etcdclient.New(etcdclient.Config{Endpoints: []string{"http://" + l.Addr().String()}})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = bad.Close() })
			g := startOver(t, etcd, etcd.Endpoint(), func(c *etcdclient.Client) handlers.Backend { return otherSnapshots{Client: c, of: bad} })
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.url+"/v1/maintenance/snapshot", nil)
			if err != nil {
				t.Fatal(err)
			}
			a, err := g.http.Do(r)
			if err != nil { // cut before the first bytes left
				if tt.good {
					t.Error(err)
				}
				return
			}
			defer a.Body.Close()
			body, err := io.ReadAll(a.Body)
			if tt.good && (err != nil || string(body) != string(file)+string(sum[:])) {
				t.Errorf("got %d bytes, %v; want the file and its hash", len(body), err)
			}
			if !tt.good && (err == nil || len(body) > len(file)) {
				t.Errorf("got %d bytes, %v; want no more than the file, and an error", len(body), err)
			}
		})
	}
}
