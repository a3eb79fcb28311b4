package telemetry

import (
	"fmt"
	"io"
	"os"
	"sync"
)

// Sink is where the lines of a log go: a file, which can be opened again under its name after it was moved away, or one of
// the process's own outputs. It is safe for concurrent use.
type Sink struct {
	path string

	mu   sync.Mutex
	out  io.Writer
	file *os.File
	// torn says that the last line was cut in the middle: the next one begins on a line of its own.
	torn bool
}

// OpenSink opens a sink: stdout and stderr are the outputs given, any other name is a file, which is appended to. A file that
// is made is for its owner alone.
func OpenSink(name string, stdout, stderr io.Writer) (*Sink, error) {
	switch name {
	case "stdout":
		return &Sink{out: stdout}, nil
	case "stderr":
		return &Sink{out: stderr}, nil
	}
	s := &Sink{path: name}
	return s, s.Reopen()
}

// Reopen opens the file under its name anew. When that cannot be done the former one stays.
func (s *Sink) Reopen() error {
	if s.path == "" {
		return nil
	}
	file, err := os.OpenFile(s.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	s.mu.Lock()
	former := s.file
	s.file, s.out, s.torn = file, file, false
	s.mu.Unlock()
	if former != nil {
		return former.Close()
	}
	return nil
}

// Write writes whole lines.
func (s *Sink) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.torn {
		if _, err := s.out.Write([]byte{'\n'}); err != nil {
			return 0, fmt.Errorf("write %s: %w", s.path, err)
		}
		s.torn = false
	}
	n, err := s.out.Write(lines)
	s.torn = err != nil && n > 0
	return n, err
}

// Close closes a file.
func (s *Sink) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}
