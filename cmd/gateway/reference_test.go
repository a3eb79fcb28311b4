package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the generated reference")

func TestReferenceIsInStepWithTheOptions(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "reference", "configuration.md")
	want := reference()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		write(t, path, want)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is out of step; run `go test ./cmd/gateway -run Reference -update` (-want +got):\n%s", path, diff)
	}
}

func reference() string {
	var b strings.Builder
	b.WriteString(`# Configuration

<!-- Generated from the table of options in cmd/gateway/options.go by ` + "`go test ./cmd/gateway -run Reference -update`" + `. -->

Every option is a flag, a variable and a key of the YAML file that ` + "`--config`" + ` names. A flag wins over the variable, the variable
over the file, the file over the default. Unknown flags, variables that begin with ` + "`ETCDREST_`" + ` and keys are refused, and all faults
are reported at once. ` + "`gateway check-config`" + ` says whether ` + "`gateway serve`" + ` would start, and prints what is in effect.

- Durations are whole seconds: ` + "`30`, `30s` or `5m`" + `.
- Sizes are bytes: ` + "`1048576` or `1MiB`" + `.
- Lists are comma-separated; flags may be repeated, keys may hold a YAML list.
- A variable that is set to nothing counts as given.
- There is no option that holds a secret: passwords and keys are in files of their own, which options name.

Certificates and keys are read again when their files change; everything else needs a restart. Exit codes: 0 ended in good order, 1 failed, 2 called
or configured wrongly. The first SIGTERM or SIGINT lets requests finish within ` + "`shutdown-grace`" + `; the second ends the process at once.
`)
	defaults := defaultConfig()
	for _, g := range groups() {
		fmt.Fprintf(&b, "\n## %s\n", g.title)
		for _, o := range g.options {
			fmt.Fprintf(&b, "\n### `--%s`\n\n%s\n\n", o.name, o.about)
			d := o.at(&defaults).words()
			if d == "" {
				d = "empty"
			} else {
				d = "`" + d + "`"
			}
			if o.placeholder != "" {
				fmt.Fprintf(&b, "- Value: `%s`, default %s\n", o.placeholder, d)
			} else {
				fmt.Fprintf(&b, "- Value: none, or `=true` or `=false`; default %s\n", d)
			}
			switch {
			case o.flagOnly:
				b.WriteString("- Neither variable nor key\n")
			case o.name == "config":
				fmt.Fprintf(&b, "- Variable: `%s`\n", o.env())
			default:
				fmt.Fprintf(&b, "- Variable: `%s`, key: `%s`\n", o.env(), o.name)
			}
			fmt.Fprintf(&b, "- Commands: %s\n", strings.Join(o.commands, ", "))
		}
	}
	return b.String()
}
