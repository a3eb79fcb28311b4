package tour

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Shell is one bash that runs command after command, so that variables live on. Not for concurrent use.
type Shell struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// ended begins the line that tells a command's end and its exit status; no command prints this byte first.
const ended = "\x04"

// patience is how long one command may run: a tour has no watch without an end, but may wait for an issuer's new key.
const patience = time.Minute

// curlrc has curl print what it prints to a terminal: no progress meter.
const curlrc = "silent\nshow-error\n"

// ending has the jobs of a shell that ends, in whatever way but by SIGKILL, end in good order before it.
const ending = "trap '{ kill $(jobs -p); wait; } 2>/dev/null' EXIT\n"

// StartShell starts bash in a folder, with exports ("NAME=value", as the shell reads it) beside this process's environment. It
// is killed, with what it started, when ctx ends.
func StartShell(ctx context.Context, dir string, exports ...string) (*Shell, error) {
	cmd := exec.CommandContext(ctx, "bash", "--noprofile", "--norc")
	cmd.Dir = dir
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte(curlrc), 0o600); err != nil {
		return nil, fmt.Errorf("start bash: %w", err)
	}
	cmd.Env = append(os.Environ(), "CURL_HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("start bash: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("start bash: %w", err)
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start bash: %w", err)
	}
	_, err = io.WriteString(in, ending+strings.Join(append([]string{""}, exports...), "\nexport ")+"\n")
	return &Shell{cmd: cmd, in: in, out: bufio.NewReader(out)}, err
}

// Run runs a command, without input, and returns what it printed on both outputs and its exit status. A command that
// takes too long ends the shell, which is an error, as is a command that does.
func (s *Shell) Run(command string) (printed string, status int, err error) {
	if _, err := fmt.Fprintf(s.in, "{\n%s\n} </dev/null\nprintf '\\n\\004%%d\\n' $?\n", command); err != nil {
		return "", 0, fmt.Errorf("bash: %w", err)
	}
	tooLong := time.AfterFunc(patience, func() { _ = s.cmd.Cancel() })
	defer tooLong.Stop()
	var all strings.Builder
	for {
		line, err := s.out.ReadString('\n')
		if err != nil {
			return all.String() + line, 0, fmt.Errorf("bash ended, by the command or after %v: %w", patience, err)
		}
		if code, isEnd := strings.CutPrefix(line, ended); isEnd {
			status, err := strconv.Atoi(strings.TrimSpace(code))
			return strings.TrimSuffix(all.String(), "\n"), status, err
		}
		all.WriteString(line)
	}
}

// Close ends the shell with what it started in the background, and waits for it.
func (s *Shell) Close() error {
	_ = s.in.Close()
	return s.cmd.Wait()
}
