package readme_test

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/etcdrest/etcdrest/tests/harness"
	"github.com/etcdrest/etcdrest/tests/readme"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestReadmeTour runs the README's tour against `gateway dev`, on free ports in place of the default ones.
func TestReadmeTour(t *testing.T) {
	t.Parallel()
	root, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	document, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	gateway := harness.StartGateway(t, "dev", "--data-dir", t.TempDir())
	text := strings.NewReplacer(
		":8379", ":"+port(t, gateway.API),
		":8380", ":"+port(t, gateway.Admin),
	).Replace(string(document))
	for _, fault := range run(t, text) {
		t.Errorf("README.md:%s", fault)
	}
}

func port(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil || u.Port() == "" {
		t.Fatalf("got the address %q (%v), want a URL with a port", address, err)
	}
	return u.Port()
}

// run runs a document's tour and returns what differs, each with the line of its command.
func run(t *testing.T, document string) (faults []string) {
	t.Helper()
	steps, err := readme.Tour(document)
	if err != nil {
		t.Fatal(err)
	}
	shell, err := readme.StartShell(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer shell.Close()
	for _, step := range steps {
		printed, status, err := shell.Run(step.Command)
		switch {
		case err != nil:
			return append(faults, fmt.Sprintf("%d: $ %s\n%v; it printed\n%s", step.Line, step.Command, err, printed))
		case status != 0:
			faults = append(faults, fmt.Sprintf("%d: $ %s\nended with status %d; it printed\n%s", step.Line, step.Command, status, printed))
		case !step.Matches(printed):
			faults = append(faults, fmt.Sprintf("%d: $ %s\nprinted\n%s\nwant\n%s", step.Line, step.Command, printed, step.Output))
		}
	}
	return faults
}
