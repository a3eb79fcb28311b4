package authn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// fileKeys are keys in files, read again when a file changes. A file that cannot be used is logged, and what was read before
// stays.
type fileKeys struct {
	files []string
	load  func() ([]*Key, error)
	log   *slog.Logger
	every time.Duration
	set   atomic.Pointer[KeySet]
}

// lookEvery is how often files are looked at.
const lookEvery = time.Second

// NewPEMKeys reads public keys. The error joins the faults of all files.
func NewPEMKeys(files []FileKey, log *slog.Logger) (KeySource, error) {
	return newKeyFiles(files, FileKey.loadPEM, log)
}

// NewSecretKeys reads HMAC secrets. The error joins the faults of all files.
func NewSecretKeys(files []FileKey, log *slog.Logger) (KeySource, error) {
	return newKeyFiles(files, FileKey.loadSecret, log)
}

func newKeyFiles(files []FileKey, load func(FileKey) (*Key, error), log *slog.Logger) (KeySource, error) {
	var names []string
	for _, f := range files {
		names = append(names, f.File)
	}
	return newFileKeys(names, func() ([]*Key, error) {
		var keys []*Key
		var faults []error
		for _, f := range files {
			key, err := load(f)
			keys, faults = append(keys, key), append(faults, err)
		}
		return keys, errors.Join(faults...)
	}, log)
}

// NewJWKSFile reads a JWK Set. Its keys may be used with the algorithms only.
func NewJWKSFile(file string, algorithmNames []string, log *slog.Logger) (KeySource, error) {
	return newFileKeys([]string{file}, func() ([]*Key, error) {
		content, err := readKeyFile(file)
		if err != nil {
			return nil, err
		}
		keys, skipped, err := parseJWKS(content, algorithmNames)
		if err == nil && len(keys) == 0 {
			err = fmt.Errorf("no key of it can be used: %s", strings.Join(skipped, "; "))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return keys, nil
	}, log)
}

func newFileKeys(files []string, load func() ([]*Key, error), log *slog.Logger) (*fileKeys, error) {
	k := &fileKeys{files: files, load: load, log: logOr(log), every: lookEvery}
	set, err := k.read()
	k.set.Store(set)
	return k, err
}

func (k *fileKeys) read() (*KeySet, error) {
	keys, err := k.load()
	if err != nil {
		return nil, err
	}
	return newKeySet(keys)
}

// Keys is what was read last and could be used.
func (k *fileKeys) Keys() *KeySet { return k.set.Load() }

// Renew gives the same: Run looks at the files often enough.
func (k *fileKeys) Renew(context.Context) *KeySet { return k.set.Load() }

// Run looks at the files every second until ctx ends.
func (k *fileKeys) Run(ctx context.Context) {
	ticker := time.NewTicker(k.every)
	defer ticker.Stop()
	stamp := "" // whatever changed since the files were read is seen
	for {
		if now := stampOf(k.files); now != stamp {
			stamp = now // of the attempt: a broken file is told once, and tried again when it changes
			k.reload(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (k *fileKeys) reload(ctx context.Context) {
	set, err := k.read()
	switch {
	case err != nil:
		k.log.ErrorContext(ctx, "key files cannot be used; the keys read before stay", "files", k.files, "cause", err.Error())
	case !set.same(k.set.Load()):
		k.set.Store(set)
		k.log.InfoContext(ctx, "keys are used from now on", "files", k.files, "kids", set.kids())
	}
}

// stampOf tells one state of files from another by their times and sizes.
func stampOf(files []string) string {
	var b strings.Builder
	for _, file := range files {
		if info, err := os.Stat(file); err == nil {
			fmt.Fprintf(&b, "%d,%d", info.ModTime().UnixNano(), info.Size())
		}
		b.WriteString(";")
	}
	return b.String()
}

// logOr is log, or one that writes nowhere.
func logOr(log *slog.Logger) *slog.Logger {
	if log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return log
}
