package history

import (
	"bytes"
	"context"
	"encoding/gob"
	"fmt"
	"io"
	"os/exec"
)

// Report is a whole run as the judge takes it: a program of its own (cmd/judge), because etcd's validators bring half of
// etcd's test framework with them. It travels as gob: keys and values are bytes, and JSON has only text.
type Report struct {
	Revisions []Revision
	Streams   []Stream
}

// ReadReport is the judge's side.
func ReadReport(in io.Reader) (r Report, err error) {
	if err := gob.NewDecoder(in).Decode(&r); err != nil {
		return Report{}, fmt.Errorf("read the report: %w", err)
	}
	return r, nil
}

// Judge has the program at that path judge a run by etcd's own watch validators. Its error shows what they said.
func Judge(ctx context.Context, program string, log *Log, streams []Stream) error {
	var report bytes.Buffer
	if err := gob.NewEncoder(&report).Encode(Report{Revisions: log.revisions, Streams: streams}); err != nil {
		return fmt.Errorf("judge: %w", err)
	}
	judge := exec.CommandContext(ctx, program)
	judge.Stdin = &report
	if said, err := judge.CombinedOutput(); err != nil {
		return fmt.Errorf("etcd's validators: %w\n%s", err, said)
	}
	return nil
}
