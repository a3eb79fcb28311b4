package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

func runHelp(_ context.Context, p process) error {
	if len(p.args) == 0 {
		return writeHelp(p.stdout)
	}
	cmd, _, err := findCommand(p.args)
	if err != nil {
		return err
	}
	return writeCommandHelp(p.stdout, cmd)
}

func writeHelp(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "etcdREST, the HTTP front door of etcd\n\nusage: gateway [command] [flags]\n\n")
	for _, c := range commands() {
		fmt.Fprintf(t, "  %s\t%s\n", c.name, c.about)
	}
	fmt.Fprint(t, "\n"+
		"Without a command it is `gateway serve`. To try it without an etcd: `gateway dev`.\n"+
		"Each flag has a variable (--listen: ETCDREST_LISTEN) and a key in the YAML file that --config names (listen: …).\n"+
		"A flag wins over the variable, the variable over the file.\n"+
		"All flags of a command: `gateway help serve`.\n")
	return t.Flush()
}

// writeCommandHelp lists the flags that the command takes, with their defaults.
func writeCommandHelp(w io.Writer, cmd *command) error {
	var b strings.Builder
	fmt.Fprintf(&b, "gateway %s: %s\n", cmd.name, cmd.about)
	defaults := defaultConfig()
	for _, g := range groups() {
		title := "\n" + g.title + "\n"
		for _, o := range g.options {
			if !o.belongsTo(cmd.name) {
				continue
			}
			b.WriteString(title)
			title = ""
			fmt.Fprintf(&b, "  --%s", o.name)
			if o.placeholder != "" {
				b.WriteString(" " + o.placeholder)
			}
			fmt.Fprintf(&b, "\n        %s", o.about)
			if d := o.at(&defaults).words(); d != "" && d != "false" {
				fmt.Fprintf(&b, " Default: %s.", d)
			}
			b.WriteString("\n")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
