package tour

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
)

// Document is a file of the checkout.
func Document(t testing.TB, name string) string {
	t.Helper()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// FreePort is a port of the loopback address that nobody listens on, as text.
func FreePort(t testing.TB) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// Run runs a document's tour in a folder of its own, with exports as StartShell has them, and returns what differs, each with
// the line of its command.
func Run(t testing.TB, document string, exports ...string) (faults []string) {
	t.Helper()
	steps, err := Read(document)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shell, err := StartShell(t.Context(), dir, exports...)
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	for _, step := range steps {
		if step.File != "" {
			if err := os.WriteFile(filepath.Join(dir, step.File), []byte(step.Output+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			continue
		}
		printed, status, err := shell.Run(step.Command)
		switch {
		case err != nil:
			return append(faults, fmt.Sprintf("%d: $ %s\n%v; it printed\n%s", step.Line, step.Command, err, printed))
		case status != 0:
			faults = append(faults, fmt.Sprintf("%d: $ %s\nended with status %d; it printed\n%s", step.Line, step.Command, status, printed))
		case !step.Matches(printed):
			faults = append(faults, fmt.Sprintf("%d: $ %s\nprinted\n%s\nwant\n%s", step.Line, step.Command, printed, strings.TrimSpace(step.Output)))
		}
	}
	return faults
}
