package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/etcdrest/etcdrest/internal/kvjson"
)

// command is one subcommand.
type command struct {
	name  string
	about string
	run   func(ctx context.Context, p process) error
}

// commands lists the subcommands in the order of the help; the first is also the bare `gateway`.
func commands() []*command {
	return []*command{
		{serveName, "run the gateway in front of the etcd that --endpoints names", runServe},
		{devName, "run the gateway and an etcd of its own, whose data stays in --data-dir", runDev},
		{checkName, "say whether `gateway serve` would start, and print the effective configuration", runCheckConfig},
		{doctorName, "probe the etcd behind and, with --url, the proxies in front", runDoctor},
		{tokenName, "sign a token to try the gateway with, or make a key to sign with", runToken},
		{"version", "print the versions of the program and of what it is built from", runVersion},
		{"help", "print this, or with the name of a command all its flags", runHelp},
	}
}

// The commands that options name.
const (
	serveName  = "serve"
	devName    = "dev"
	checkName  = "check-config"
	doctorName = "doctor"
	tokenName  = "token"
)

// findCommand takes the subcommand off args; without one it is serve.
func findCommand(args []string) (*command, []string, error) {
	all := commands()
	if len(args) == 0 {
		return all[0], nil, nil
	}
	first := args[0]
	switch {
	case first == "-h" || first == "-help" || first == "--help":
		first = "help"
	case first == "--version" || first == "-version":
		first = "version"
	case strings.HasPrefix(first, "-"):
		return all[0], args, nil
	}
	for _, c := range all {
		if c.name == first {
			return c, args[1:], nil
		}
	}
	fault := fmt.Sprintf("there is no command %q", first)
	if near := kvjson.Nearest(first, commandNames()); near != "" {
		fault += fmt.Sprintf("; did you mean `gateway %s`?", near)
	} else {
		fault += "; the commands are " + strings.Join(commandNames(), ", ")
	}
	return nil, nil, &usageError{faults: []string{fault}, see: "gateway help"}
}

func commandNames() []string {
	var names []string
	for _, c := range commands() {
		names = append(names, c.name)
	}
	return names
}

func wantsHelp(args []string) bool {
	return slices.ContainsFunc(args, func(a string) bool { return a == "-h" || a == "-help" || a == "--help" })
}

// usageError holds everything that is wrong with how the program was called or configured.
type usageError struct {
	faults []string
	see    string // the command that tells more
}

func (e *usageError) Error() string {
	if len(e.faults) == 1 {
		return e.faults[0] + "\nsee `" + e.see + "`"
	}
	return fmt.Sprintf("%d faults:\n  - %s\nsee `%s`", len(e.faults), strings.Join(e.faults, "\n  - "), e.see)
}
