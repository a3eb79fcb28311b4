package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// finding is one line of the doctor's report.
type finding struct {
	Check  string `json:"check"`
	Target string `json:"target"`
	Status status `json:"status"`
	Detail string `json:"detail"`
}

type status string

const (
	statusOK   status = "ok"
	statusWarn status = "warn" // works, but somebody should look at it
	statusFail status = "fail"
)

// report collects findings. It is for one goroutine: checks that run side by side have a report each.
type report struct{ findings []finding }

func (r *report) add(check, target string, s status, format string, args ...any) {
	r.findings = append(r.findings, finding{check, target, s, fmt.Sprintf(format, args...)})
}

// runDoctor probes what is configured and prints what it finds; it fails when a check fails.
func runDoctor(ctx context.Context, p process) error {
	c, err := load(p)
	if err != nil {
		return err
	}
	all := &report{}
	if len(c.Endpoints) > 0 {
		if err := examineCluster(ctx, c, all); err != nil {
			return err
		}
	}
	if c.DoctorURL != "" {
		examineWay(ctx, c, all)
	}
	examineFiles(c, time.Now(), all)
	if err := all.write(p.stdout, c.DoctorJSON); err != nil {
		return err
	}
	failed := 0
	for _, f := range all.findings {
		if f.Status == statusFail {
			failed++
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d checks failed", failed, len(all.findings))
	}
	return nil
}

func (r *report) write(w io.Writer, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"findings": r.findings})
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprint(t, "CHECK\tTARGET\tSTATUS\tDETAIL\n")
	for _, f := range r.findings {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", f.Check, f.Target, f.Status, f.Detail)
	}
	return t.Flush()
}
