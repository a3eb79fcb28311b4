package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"
	"text/tabwriter"
)

// build is what the program knows about how it was built.
type build struct {
	version, commit, goVersion, etcdAPI string
}

// devel is the version of a program that was not built from a released module.
const devel = "devel"

func readBuild() build {
	b := build{version: devel, commit: "unknown", goVersion: runtime.Version(), etcdAPI: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		b.version = v
	}
	modified := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	if modified {
		b.commit += " (modified)"
	}
	for _, m := range info.Deps {
		if m.Path == "go.etcd.io/etcd/api/v3" {
			b.etcdAPI = m.Version
		}
	}
	return b
}

func runVersion(_ context.Context, p process) error {
	if _, faults := readFlags(p.command, p.args); len(faults) > 0 {
		return &usageError{faults: faults, see: "gateway help"}
	}
	b := readBuild()
	t := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "gateway\t%s\ncommit\t%s\ngo\t%s\netcd api\t%s\n", b.version, b.commit, b.goVersion, b.etcdAPI)
	return t.Flush()
}
