package handlers

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/etcdrest/etcdrest/internal/etcdclient"
	"github.com/etcdrest/etcdrest/internal/problem"
)

// snapshot answers GET /v1/maintenance/snapshot: a member's database as a file, with its SHA-256 behind it, as etcdctl
// saves it. The length is announced and the hash is held back until it is right, so that a snapshot which is short or wrong
// never looks whole: its connection is cut. Each one is another file, so that none can be resumed.
func (a *API) snapshot(c *call) error {
	id := c.memberParameter()
	if err := c.query.Done(); err != nil {
		return err
	}
	if c.r.Header.Get("Range") != "" {
		return problem.New(problem.InvalidParameter, "a snapshot cannot be resumed: the next one is another file; leave Range out").AtParameter("Range")
	}
	member, clusterID, err := c.snapshotOf(c.ctx(), id)
	if err != nil {
		return err
	}
	name := "etcd-snapshot-" + formatID(int64(clusterID)) + "-" + c.started.UTC().Format("20060102T150405Z") + ".db" //nolint:gosec // the bits are the id
	if c.r.Method == http.MethodHead {
		c.startSnapshot(name, nil)
		return nil
	}
	ctx, cancel := context.WithCancelCause(c.ctx())
	defer cancel(nil)
	patience := a.options.RequestTimeout
	watchdog := time.AfterFunc(patience, func() { cancel(errSnapshotStalled) })
	defer watchdog.Stop()
	s, err := c.backend.Snapshot(ctx, member)
	if err != nil {
		if errors.Is(context.Cause(ctx), errSnapshotStalled) {
			return problem.New(problem.DeadlineExceeded, "etcd sent nothing for %d s", int64(patience/time.Second)).Because(err)
		}
		return err
	}
	c.startSnapshot(name, s)
	if err := c.copySnapshot(s, func() { watchdog.Reset(patience) }, func() { watchdog.Stop() }); err != nil {
		a.options.Logger.WarnContext(ctx, "a snapshot was cut", "error", err.Error(), "request_id", c.id)
		panic(http.ErrAbortHandler) // the one way to cut an answer under way
	}
	return nil
}

var errSnapshotStalled = errors.New("etcd sent nothing")

// snapshotOf finds the member that is named, nil for any, and the cluster's id.
func (c *call) snapshotOf(ctx context.Context, id *uint64) (*etcdclient.Member, uint64, error) {
	members, header, err := c.backend.MembersKnown(ctx)
	if err != nil || id == nil {
		return nil, header.ClusterID, err
	}
	for _, m := range members {
		if m.ID == *id {
			return &m, header.ClusterID, nil
		}
	}
	return nil, 0, memberNotFound().AtParameter("member")
}

// startSnapshot writes the status line and the headers; without a snapshot for HEAD, for which none is made.
func (c *call) startSnapshot(name string, s *etcdclient.Snapshot) {
	h := c.w.Header()
	set(h, "X-Request-Id", c.id)
	set(h, "Server-Timing", c.timing())
	set(h, "Cache-Control", "no-store")
	set(h, "Content-Type", rawType)
	set(h, "Content-Disposition", `attachment; filename="`+name+`"`)
	set(h, "X-Content-Type-Options", "nosniff")
	set(h, "Accept-Ranges", "none")
	if s != nil {
		set(h, "Content-Length", strconv.FormatInt(s.Size, 10))
		if s.Version != "" {
			set(h, "Etcd-Storage-Version", s.Version)
		}
	}
	c.status, c.answered = http.StatusOK, true
	c.w.WriteHeader(c.status)
}

// copySnapshot passes the snapshot on. reading is called before etcd is asked for the next piece, writing when it has come:
// a slow caller is not etcd's delay.
func (c *call) copySnapshot(s *etcdclient.Snapshot, reading, writing func()) error {
	rc := http.NewResponseController(c.w)
	for {
		reading()
		piece, err := s.Next()
		writing()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = rc.SetWriteDeadline(time.Now().Add(writeTimeout)) // not every writer has deadlines (tests)
		n, err := c.w.Write(piece)
		c.written += int64(n)
		if err != nil {
			return problem.New(problem.ClientGone, "the client went away").Because(err)
		}
	}
}
