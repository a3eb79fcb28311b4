package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/goccy/go-yaml"
)

func runCheckConfig(_ context.Context, p process) error {
	c, err := load(p)
	if err != nil {
		return err
	}
	return c.write(p.stdout)
}

// write prints the effective configuration as a file that --config takes, with the source of each value. There is nothing
// in it to mask: secrets are in files of their own, and URLs with passwords are refused.
func (c *Config) write(w io.Writer) error {
	for _, o := range options() {
		if o.flagOnly || o.name == "config" {
			continue
		}
		value, err := yaml.MarshalWithOptions(o.at(c).value(), yaml.Flow(true))
		if err != nil {
			return fmt.Errorf("option %s: %w", o.name, err)
		}
		line := fmt.Sprintf("%s: %s", o.name, strings.TrimSpace(string(value)))
		if _, err := fmt.Fprintf(w, "%-48s # %s\n", line, c.source(o.name)); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, c.access.text)
	return err
}
