package embedetcd

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"
	"go.etcd.io/etcd/client/pkg/v3/fileutil"
)

// ErrInUse means that another process runs an etcd on the same data folder.
var ErrInUse = errors.New("another process is using this data folder")

// lock takes the folder for this process. etcd itself waits for ever, and silently, for a database that another process
// has open; so the lock is our own file, and a database that a foreign etcd holds is noticed before etcd is started.
func lock(dir string) (unlock func(), err error) {
	file, err := fileutil.TryLockFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if errors.Is(err, fileutil.ErrLocked) {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("data folder: %w", err)
	}
	if heldByOther(filepath.Join(dir, "etcd", "member", "snap", "db")) {
		return nil, errors.Join(fmt.Errorf("%s: %w", dir, ErrInUse), file.Close())
	}
	return func() { _ = file.Close() }, nil // closing unlocks; there is nothing to flush
}

// heldByOther asks by way of the database's own kind of lock. What else is wrong with the file is etcd's to say.
func heldByOther(database string) bool {
	db, err := bbolt.Open(database, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Millisecond})
	if err != nil {
		return errors.Is(err, bbolterrors.ErrTimeout)
	}
	_ = db.Close() // opened for reading only
	return false
}
