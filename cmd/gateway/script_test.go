package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestScripts runs the stories in testdata/script. Besides testscript's own commands they have
//
//	start NAME gateway ARGS…   runs it until it says where it is, and sets $NAME_API, $NAME_ADMIN and $NAME_ETCD
//	end NAME SIGNAL CODE       sends TERM, INT or KILL, and wants the exit code; its log is then in $NAME.log
//	hang NAME URL              sends a GET and goes on when it is being served, without its answer
//	signal NAME SIGNAL TEXT    sends the signal and waits until its log holds the text
//	http METHOD URL [BODY]     prints the status and the body
func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true, UpdateScripts: *update,
		Setup: func(e *testscript.Env) error {
			e.Values[started{}] = map[string]*child{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"start": startCommand, "end": endCommand, "hang": hangCommand, "signal": signalCommand},
	})
}

type started struct{} // the key of a script's children

type child struct {
	cmd *exec.Cmd
	log *buffer
}

func children(ts *testscript.TestScript) map[string]*child {
	return ts.Value(started{}).(map[string]*child)
}

func startCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: start NAME PROGRAM ARGS…")
	}
	name := args[0]
	c := &child{cmd: exec.Command(args[1], args[2:]...), log: newBuffer()} //nolint:noctx,gosec // the script names it, and its end kills it
	c.cmd.Dir = ts.MkAbs(".")
	c.cmd.Env = append(os.Environ(), //nolint:forbidigo // a program of its own
		"ETCDREST_LISTEN=127.0.0.1:0", "ETCDREST_ADMIN_LISTEN=127.0.0.1:0")
	c.cmd.Stdout, c.cmd.Stderr = c.log, c.log
	ts.Check(c.cmd.Start())
	children(ts)[name] = c
	ts.Defer(func() {
		if c.cmd.ProcessState == nil {
			_ = c.cmd.Process.Kill()
			_ = c.cmd.Wait()
		}
	})
	c.await(ts, func(log string) bool { return urlOf(log, "API") != "" })
	for variable, line := range map[string]string{"API": "API", "ADMIN": "admin", "ETCD": "etcd"} {
		ts.Setenv(name+"_"+variable, urlOf(c.log.String(), line))
	}
}

// await waits until the child's log is as wanted.
func (c *child) await(ts *testscript.TestScript, wanted func(log string) bool) {
	deadline := time.After(20 * time.Second)
	for {
		changed := c.log.changed()
		if wanted(c.log.String()) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			ts.Fatalf("the log never says what is wanted:\n%s", c.log)
		}
	}
}

func signalOf(name string) syscall.Signal {
	return map[string]syscall.Signal{"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "KILL": syscall.SIGKILL}[name]
}

func signalCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: signal NAME SIGNAL TEXT")
	}
	c := children(ts)[args[0]]
	ts.Check(c.cmd.Process.Signal(signalOf(args[1])))
	c.await(ts, func(log string) bool { return strings.Contains(log, args[2]) })
}

func hangCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hang NAME URL")
	}
	target, err := url.Parse(args[1])
	ts.Check(err)
	connection, err := net.Dial("tcp", target.Host) //nolint:noctx // the script's end closes it
	ts.Check(err)
	ts.Defer(func() { _ = connection.Close() })
	_, err = fmt.Fprintf(connection, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", target.Path, target.Host)
	ts.Check(err)
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		resp, err := http.Get(ts.Getenv(args[0]+"_ADMIN") + "/metrics") //nolint:noctx // the program answers at once
		ts.Check(err)
		metrics, err := io.ReadAll(resp.Body)
		ts.Check(errors.Join(err, resp.Body.Close()))
		if strings.Contains(string(metrics), "\netcdrest_http_requests_in_flight 1\n") {
			return
		}
	}
	ts.Fatalf("%s is not being served", args[1])
}

func endCommand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: end NAME SIGNAL CODE")
	}
	c := children(ts)[args[0]]
	ts.Check(c.cmd.Process.Signal(signalOf(args[1])))
	_ = c.cmd.Wait() // the code is looked at next
	if got := fmt.Sprint(c.cmd.ProcessState.ExitCode()); got != args[2] {
		ts.Fatalf("%s ended with code %s, want %s:\n%s", args[0], got, args[2], c.log)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".log"), []byte(c.log.String()), 0o600))
}
