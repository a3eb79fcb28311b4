package main

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/etcdrest/etcdrest/internal/kvjson"
)

// given is what one source gives: texts by option name.
type given map[string][]string

// load makes the configuration of a command. It reports every fault of every source, and of the whole, at once.
func load(p process) (Config, error) {
	var faults []string
	c := defaultConfig()

	flags, wrong := readFlags(p.command, p.args)
	faults = append(faults, wrong...)
	environment, wrong := readEnvironment(p.environ)
	faults = append(faults, wrong...)
	file := given{}
	if path := slices.Concat(environment["config"], flags["config"]); len(path) > 0 && last(path) != "" {
		file, c.access, wrong = readFile(last(path))
		faults = append(faults, wrong...)
	}

	for _, s := range []struct {
		source source
		given  given
		spell  func(*option) string
	}{
		{fromFile, file, func(o *option) string { return o.name + " in the file" }},
		{fromEnvironment, environment, (*option).env},
		{fromFlag, flags, func(o *option) string { return "--" + o.name }},
	} {
		for _, o := range options() {
			texts, ok := s.given[o.name]
			if !ok {
				continue
			}
			if err := o.at(&c).set(texts); err != nil {
				faults = append(faults, s.spell(&o)+": "+err.Error())
			}
			c.sources[o.name] = s.source
		}
	}
	if file != nil { // else what is missing may be in it
		faults = append(faults, c.validate(p.command.name)...)
	}
	if len(faults) > 0 {
		return Config{}, &usageError{faults: faults, see: "gateway help " + p.command.name}
	}
	return c, nil
}

// readFlags parses the command line. The flag package stops at the first fault, so it is asked to go on after each.
func readFlags(cmd *command, args []string) (given, []string) {
	found := given{}
	set := flag.NewFlagSet(cmd.name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, o := range options() {
		if o.belongsTo(cmd.name) {
			set.Var(raw{option: o, to: found}, o.name, "")
		}
	}
	var faults []string
	for len(args) > 0 {
		err := set.Parse(args)
		rest := set.Args()
		if err == nil {
			if len(rest) == 0 {
				break
			}
			faults = append(faults, fmt.Sprintf("%q is not a flag; flags begin with --", rest[0]))
			args = rest[1:]
			continue
		}
		wrong := args[len(args)-len(rest)-1]
		name, _, hasValue := strings.Cut(strings.TrimLeft(wrong, "-"), "=")
		faults = append(faults, flagFault(cmd, set, name, err))
		if !hasValue && set.Lookup(name) == nil && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
			rest = rest[1:] // the value of the unknown flag
		}
		args = rest
	}
	return found, faults
}

func flagFault(cmd *command, set *flag.FlagSet, name string, err error) string {
	if set.Lookup(name) != nil {
		if strings.HasPrefix(err.Error(), "flag needs an argument") {
			return fmt.Sprintf("--%s needs a value", name)
		}
		return fmt.Sprintf("--%s: %v", name, err)
	}
	for _, o := range options() {
		if o.name == name {
			return fmt.Sprintf("--%s is no flag of `gateway %s`; it belongs to %s", name, cmd.name, strings.Join(o.commands, ", "))
		}
	}
	var known []string
	set.VisitAll(func(f *flag.Flag) { known = append(known, f.Name) })
	if len(known) == 0 {
		return fmt.Sprintf("--%s is unknown; `gateway %s` takes no flags", name, cmd.name)
	}
	return fmt.Sprintf("--%s is unknown%s", name, didYouMean("--", name, known))
}

// raw is a flag.Value that keeps the text for later.
type raw struct {
	option option
	to     given
}

func (r raw) String() string { return "" }

func (r raw) Set(s string) error {
	r.to[r.option.name] = append(r.to[r.option.name], s)
	return nil
}

func (r raw) IsBoolFlag() bool {
	var c Config
	_, ok := r.option.at(&c).(truth)
	return ok
}

// readEnvironment takes the variables that begin with ETCDREST_. One that is set to nothing counts as given.
func readEnvironment(environ []string) (given, []string) {
	known := map[string]string{}
	for _, o := range options() {
		if !o.flagOnly {
			known[o.env()] = o.name
		}
	}
	found := given{}
	var faults []string
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, envPrefix) || isServiceVariable(name, value) {
			continue
		}
		if option, ok := known[name]; ok {
			found[option] = []string{value}
			continue
		}
		faults = append(faults, name+" is unknown"+didYouMean("", name, slices.Sorted(maps.Keys(known))))
	}
	slices.Sort(faults)
	return found, faults
}

var (
	serviceVariable = regexp.MustCompile(`^ETCDREST_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)
	servicePort     = regexp.MustCompile(`^ETCDREST_([A-Z0-9_]+_)?PORT$`)
	serviceURL      = regexp.MustCompile(`^(tcp|udp|sctp)://`)
)

// isServiceVariable recognises what Kubernetes puts into every container of a namespace that has a Service named
// etcdrest or etcdrest-something; a gateway that took them for misspelt options would not start there.
func isServiceVariable(name, value string) bool {
	return serviceVariable.MatchString(name) || (servicePort.MatchString(name) && serviceURL.MatchString(value))
}

func didYouMean(prefix, name string, known []string) string {
	if near := kvjson.Nearest(name, known); near != "" {
		return "; did you mean " + prefix + near + "?"
	}
	return ""
}
