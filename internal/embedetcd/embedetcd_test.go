package embedetcd_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/etcdrest/etcdrest/internal/embedetcd"
)

func start(t *testing.T, o embedetcd.Options) *embedetcd.Server {
	t.Helper()
	s, err := embedetcd.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func client(t *testing.T, s *embedetcd.Server) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestDataOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 2 {
		started := time.Now()
		s := start(t, embedetcd.Options{Dir: dir})
		t.Logf("round %d: ready after %v", round, time.Since(started))
		c := client(t, s)
		if round == 0 {
			if _, err := c.Put(t.Context(), "k", "v"); err != nil {
				t.Fatal(err)
			}
		} else {
			r, err := c.Get(t.Context(), "k")
			if err != nil || len(r.Kvs) != 1 || string(r.Kvs[0].Value) != "v" {
				t.Fatalf("after the restart: got %v, %v; want the value v", r, err)
			}
		}
		s.Close()
		s.Close()
	}
}

func TestStartForTestIsFast(t *testing.T) {
	t.Parallel()
	started := time.Now()
	s := embedetcd.StartForTest(t)
	t.Logf("ready after %v at %s", time.Since(started), s.Endpoint())
}

func TestAServerThatHasStartedKnowsItsClusterVersion(t *testing.T) {
	t.Parallel()
	for range 10 { // without a version, etcd's own process ends here
		s := start(t, embedetcd.Options{Dir: t.TempDir(), Fast: true})
		c := client(t, s)
		if _, err := c.Downgrade(t.Context(), clientv3.DowngradeCancel, ""); err != nil {
			t.Errorf("cancel of no downgrade: %v", err)
		}
	}
}

func TestFolderInUseIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := start(t, embedetcd.Options{Dir: dir, Fast: true})
	if _, err := embedetcd.Start(t.Context(), embedetcd.Options{Dir: dir, Fast: true}); !errors.Is(err, embedetcd.ErrInUse) {
		t.Fatalf("second server on the folder: got %v, want ErrInUse", err)
	}

	// A foreign etcd knows nothing of our lock file, but it holds its database.
	if err := os.Remove(filepath.Join(dir, "lock")); err != nil {
		t.Fatal(err)
	}
	if _, err := embedetcd.Start(t.Context(), embedetcd.Options{Dir: dir, Fast: true}); !errors.Is(err, embedetcd.ErrInUse) {
		t.Fatalf("second server beside a foreign etcd: got %v, want ErrInUse", err)
	}

	first.Close()
	start(t, embedetcd.Options{Dir: dir, Fast: true})
}

// etcd ends the process for what it cannot repair, without a word when its log is quiet.
func TestDamagedFolderIsAnErrorAndNotTheEndOfTheProcess(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	start(t, embedetcd.Options{Dir: dir, Fast: true}).Close()
	db := filepath.Join(dir, "etcd", "member", "snap", "db")
	if err := os.WriteFile(db, bytes.Repeat([]byte("no database "), 8192), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := embedetcd.Start(t.Context(), embedetcd.Options{Dir: dir, Fast: true})
	if err == nil || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "invalid database") {
		t.Fatalf("damaged database: got %v, want an error that names the folder and the cause", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := embedetcd.Start(ctx, embedetcd.Options{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want context.Canceled", err)
	}
	start(t, embedetcd.Options{Dir: dir, Fast: true}) // the folder is free again
}

func TestTakenAddressIsAnError(t *testing.T) {
	t.Parallel()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	_, err = embedetcd.Start(t.Context(), embedetcd.Options{Dir: t.TempDir(), Listen: l.Addr().String()})
	if err == nil || !strings.Contains(err.Error(), "address is in use") {
		t.Fatalf("got %v, want: the address is in use", err)
	}
}

func TestLogIsQuietUnlessAskedFor(t *testing.T) {
	t.Parallel()
	var log syncBuffer
	s := start(t, embedetcd.Options{
		Dir: t.TempDir(), Fast: true,
		Logger: slog.New(slog.NewJSONHandler(&log, nil)),
	})
	s.Close()
	if got := log.String(); !strings.Contains(got, `"msg":"ready to serve client requests"`) {
		t.Errorf("etcd's log through slog: got %.300q, want its entry about serving", got)
	}
}

// syncBuffer is a bytes.Buffer that many goroutines may write.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
