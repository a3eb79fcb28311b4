package tour_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/etcdrest/etcdrest/tests/tour"
)

// sample is a document with one of everything.
const sample = "# Sample\n" +
	"```sh\nmake test\n```\n" +
	"```json\n$ not a command\n```\n" +
	"```console\n$ name=world\n$ echo \"hello $name\"\nhello world\n```\n" +
	"text between\n" +
	"```sh\n$ printf 'a\\r\\n'; cat <<END\n> {\"revision\":7,\"lease\":\"1f\"}\n> END\na\n{\"revision\":…,\"lease\":\"…\"}\n```\n" +
	"```console\n$ seq 5\n1\n…\n5\n```\n" +
	"```yaml a.yaml\n$ b: c\n> d\n\n```\n" +
	"```console\n$ sed 's/^..//' a.yaml\nb: c\nd\n```\n"

func TestTourReadsEveryCommandAndItsOutput(t *testing.T) {
	t.Parallel()
	got, err := tour.Read(sample)
	if err != nil {
		t.Fatal(err)
	}
	want := []tour.Step{
		{Line: 9, Command: "name=world"},
		{Line: 10, Command: `echo "hello $name"`, Output: "hello world"},
		{Line: 15, Command: "printf 'a\\r\\n'; cat <<END\n{\"revision\":7,\"lease\":\"1f\"}\nEND", Output: "a\n{\"revision\":…,\"lease\":\"…\"}"},
		{Line: 22, Command: "seq 5", Output: "1\n…\n5"},
		{Line: 27, File: "a.yaml", Output: "$ b: c\n> d"},
		{Line: 33, Command: "sed 's/^..//' a.yaml", Output: "b: c\nd"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the tour differs (-want +got):\n%s", diff)
	}
}

func TestSampleTourPasses(t *testing.T) {
	t.Parallel()
	if faults := tour.Run(t, sample); len(faults) > 0 {
		t.Errorf("faults in a right tour:\n%s", strings.Join(faults, "\n"))
	}
}

func TestTourThatLiesFails(t *testing.T) {
	t.Parallel()
	for name, lie := range map[string]string{
		"other output":            "$ echo a\nb",
		"output that is not told": "$ echo a",
		"output that never comes": "$ true\na",
		"a line too few":          "$ printf 'a\\nb\\n'\na",
		"a line too many":         "$ echo a\na\nb",
		"more before the match":   "$ echo xa\na",
		"a dot is no placeholder": "$ echo abc\na.c",
		"… does not cross lines":  "$ printf 'a\\nb\\n'\na…b",
		"a failing command":       "$ echo a; false\na",
		"an unknown command":      "$ no-such-command 2>/dev/null",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if faults := tour.Run(t, "```console\n"+lie+"\n```\n"); len(faults) != 1 {
				t.Errorf("got the faults %q, want one", faults)
			}
		})
	}
}

func TestDocumentWithoutTourIsRefused(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"no block":      "# Title\n$ echo\n",
		"no prompt":     "```sh\nmake test\n```\n",
		"another block": "```json\n$ echo\n```\n",
		"not closed":    "```console\n$ echo\n",
	} {
		if steps, err := tour.Read(document); err == nil {
			t.Errorf("%s: got %v, want an error", name, steps)
		}
	}
}
