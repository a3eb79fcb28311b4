// Package harness builds the gateway and etcd and runs them as processes of their own: on free ports, with their
// output kept, their CPU time and memory readable while they run, and none left behind.
package harness

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopWithin is how long a process may take to end after SIGTERM before it is killed.
const stopWithin = 15 * time.Second

// Process is a program under test. Its methods may be called from several goroutines.
type Process struct {
	cmd    *exec.Cmd
	exited chan struct{} // closed by the goroutine that waits for the process

	mu    sync.Mutex
	lines []string
	added chan struct{} // closed and replaced with every new line; closed for good when the output ends
	ended bool
}

// Start runs a program with this process's environment plus env ("NAME=value") and keeps what it prints on both of its
// outputs. It runs until Stop, not until ctx ends: a test's context ends before its clean-up, which stops in good order.
func Start(ctx context.Context, path string, args, env []string) (*Process, error) {
	cmd := exec.CommandContext(context.WithoutCancel(ctx), path, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = dieWithParent()
	output, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	p := &Process{cmd: cmd, exited: make(chan struct{}), added: make(chan struct{})}
	go func() {
		defer close(p.exited)
		p.keep(output)
		_ = cmd.Wait() // its error is told by ProcessState, to those who ask
	}()
	return p, nil
}

func (p *Process) keep(output io.Reader) {
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		close(p.added)
		p.added = make(chan struct{})
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, output) // after a line too long to keep, so that the process does not block
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	close(p.added)
}

// Output is everything printed so far.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "\n")
}

// WaitFor returns the first line, of those printed already or still to come, that find accepts. A process that ends or a
// context that ends before is an error that shows the output.
func (p *Process) WaitFor(ctx context.Context, what string, find func(line string) bool) (string, error) {
	seen := 0
	for {
		p.mu.Lock()
		fresh, added, ended := p.lines[seen:], p.added, p.ended
		p.mu.Unlock()
		seen += len(fresh)
		for _, line := range fresh {
			if find(line) {
				return line, nil
			}
		}
		if ended {
			return "", fmt.Errorf("%s ended before it printed %s; its output:\n%s", p, what, p.Output())
		}
		select {
		case <-added:
		case <-ctx.Done():
			return "", fmt.Errorf("%s has not printed %s: %w; its output:\n%s", p, what, ctx.Err(), p.Output())
		}
	}
}

// Wait returns the exit code once the process has ended: -1 when a signal ended it.
func (p *Process) Wait(ctx context.Context) (int, error) {
	select {
	case <-p.exited:
		return p.cmd.ProcessState.ExitCode(), nil
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the end of %s: %w", p, ctx.Err())
	}
}

// Signal sends a signal; a process that has ended already is no error.
func (p *Process) Signal(s os.Signal) { _ = p.cmd.Process.Signal(s) }

// Stop ends the process as an operator would and waits; one that does not obey is killed, and that is an error. Stopping
// twice is fine.
func (p *Process) Stop() error {
	p.Signal(syscall.SIGTERM)
	patience := time.NewTimer(stopWithin)
	defer patience.Stop()
	select {
	case <-p.exited:
		return nil
	case <-patience.C:
		p.Signal(os.Kill)
		<-p.exited
		return fmt.Errorf("%s did not stop within %v; its output:\n%s", p, stopWithin, p.Output())
	}
}

// PID is the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// String names the program and its process id.
func (p *Process) String() string {
	return fmt.Sprintf("%s (%d)", filepath.Base(p.cmd.Path), p.PID())
}
