package etcdclient

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
)

// Snapshot is a member's database as it is sent: the file, and behind it the SHA-256 of the file, which etcdutl checks when
// it restores. It is for one goroutine. It ends with the context that it was opened with.
type Snapshot struct {
	// Size is the number of bytes that come, the hash included.
	Size int64
	// Version is the version of the storage's format; empty before etcd 3.6.
	Version string

	in    pb.Maintenance_SnapshotClient
	first []byte // what was read when the stream was opened
	sum   hash.Hash
	left  int64  // bytes of the file that are still to come
	tail  []byte // what came behind the file
}

// Snapshot opens a snapshot of a member: the given one, or any.
func (c *Client) Snapshot(ctx context.Context, m *Member) (*Snapshot, error) {
	at := c
	if m != nil {
		var err error
		if at, err = c.ofMember(*m, methodSnapshot); err != nil {
			return nil, err
		}
	}
	in, err := pb.NewMaintenanceClient(at).Snapshot(ctx, &pb.SnapshotRequest{})
	if err != nil {
		return nil, err
	}
	r, err := in.Recv()
	if errors.Is(err, io.EOF) {
		return nil, errCorrupt(methodSnapshot, errNoSnapshot)
	}
	if err != nil {
		return nil, err
	}
	file := int64(len(r.GetBlob())) + int64(r.GetRemainingBytes()) //nolint:gosec // a file's size
	return &Snapshot{
		Size: file + sha256.Size, Version: r.GetVersion(), in: in, first: r.GetBlob(), sum: sha256.New(), left: file,
	}, nil
}

var (
	errNoSnapshot    = errors.New("the snapshot is empty")
	errShortSnapshot = errors.New("the snapshot ended before it was complete")
	errLongSnapshot  = errors.New("the snapshot goes on behind its hash")
	errWrongSnapshot = errors.New("the snapshot is not what its hash says")
)

// Next gives the next bytes, which are the caller's. The hash is the last piece: it is given only when it is right and
// etcd has said that the stream is complete. Then comes io.EOF; any other error means that the snapshot is worth nothing.
func (s *Snapshot) Next() ([]byte, error) {
	for s.left > 0 {
		piece, err := s.read()
		if errors.Is(err, io.EOF) {
			return nil, errCorrupt(methodSnapshot, errShortSnapshot)
		}
		if err != nil {
			return nil, err
		}
		if over := int64(len(piece)) - s.left; over > 0 {
			piece, s.tail = piece[:s.left], append(s.tail, piece[s.left:]...)
		}
		s.left -= int64(len(piece))
		_, _ = s.sum.Write(piece) // a hash takes everything
		if len(piece) > 0 {
			return piece, nil
		}
	}
	if s.in == nil {
		return nil, io.EOF
	}
	return s.end()
}

// end reads and judges what comes behind the file.
func (s *Snapshot) end() ([]byte, error) {
	for len(s.tail) <= sha256.Size {
		piece, err := s.read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		s.tail = append(s.tail, piece...)
	}
	switch {
	case len(s.tail) < sha256.Size:
		return nil, errCorrupt(methodSnapshot, errShortSnapshot)
	case len(s.tail) > sha256.Size:
		return nil, errCorrupt(methodSnapshot, errLongSnapshot)
	case string(s.tail) != string(s.sum.Sum(nil)):
		return nil, errCorrupt(methodSnapshot, errWrongSnapshot)
	}
	s.in = nil
	return s.tail, nil
}

func (s *Snapshot) read() ([]byte, error) {
	if first := s.first; first != nil {
		s.first = nil
		return first, nil
	}
	r, err := s.in.Recv()
	return r.GetBlob(), err
}
