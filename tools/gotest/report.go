package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
}

type testID struct{ pkg, name string }

// report turns events into lines for people and counts what happened. The zero value is not usable; not concurrent.
type report struct {
	out                     io.Writer
	said                    map[testID]*strings.Builder // what a test printed, until it passes
	seeds                   map[testID]int
	skips, empty            []string
	passed, failed, skipped int
}

func newReport(out io.Writer) *report {
	return &report{out: out, said: map[testID]*strings.Builder{}, seeds: map[testID]int{}}
}

// read consumes events until the stream ends. A line that is no event is printed as it is.
func (r *report) read(events io.Reader) error {
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			r.line(line)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read test events: %w", err)
		}
	}
}

func (r *report) line(line string) {
	var e event
	if !strings.HasPrefix(line, "{") || json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(r.out, line)
		return
	}
	switch {
	case e.Action == "build-output":
		fmt.Fprint(r.out, e.Output)
	case e.Action == "output":
		r.output(testID{e.Package, e.Test}, e.Output)
	case e.Test != "":
		r.ended(e)
	case e.Action == "fail":
		r.tellAll(e.Package)
	}
}

func (r *report) output(id testID, text string) {
	if id.name != "" && strings.HasPrefix(text, "=== ") {
		return // the coming and going of parallel tests
	}
	if id.name == "" && (strings.HasPrefix(text, "ok  \t") || strings.HasPrefix(text, "FAIL\t")) {
		fmt.Fprint(r.out, text)
		return
	}
	said := r.said[id]
	if said == nil {
		said = &strings.Builder{}
		r.said[id] = said
	}
	said.WriteString(text)
}

func (r *report) ended(e event) {
	id := testID{e.Package, e.Test}
	target, _, isSub := strings.Cut(e.Test, "/")
	if isSub {
		r.seeds[testID{e.Package, target}]++
	}
	switch e.Action {
	case "pass":
		r.passed++
		if !isSub && strings.HasPrefix(e.Test, "Fuzz") && r.seeds[id] == 0 {
			r.empty = append(r.empty, e.Package+" "+e.Test)
		}
		r.forget(id)
	case "skip":
		r.skipped++
		r.skips = append(r.skips, e.Package+" "+e.Test)
		r.tell(id)
	case "fail":
		r.failed++
		r.tell(id)
	}
}

// forget drops what a passed test said. What came after its end is the whole process's, a panic or the time-out: test2json
// puts it under the test that was last heard of.
func (r *report) forget(id testID) {
	said := r.said[id]
	delete(r.said, id)
	if said == nil {
		return
	}
	_, after, _ := strings.Cut(said.String(), "--- PASS: ")
	if _, after, _ = strings.Cut(after, "\n"); after != "" {
		r.output(testID{pkg: id.pkg}, after)
	}
}

// tellAll prints what is left of a failed package: its own words, and those of tests that a panic or the time-out cut off.
func (r *report) tellAll(pkg string) {
	var names []string
	for id := range r.said {
		if id.pkg == pkg {
			names = append(names, id.name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		r.tell(testID{pkg, name})
	}
}

// tell prints what a test said, then forgets it.
func (r *report) tell(id testID) {
	if said := r.said[id]; said != nil {
		fmt.Fprint(r.out, said.String())
		delete(r.said, id)
	}
}

// verdict prints the totals and says what go test lets pass.
func (r *report) verdict() error {
	fmt.Fprintf(r.out, "%d passed, %d failed, %d skipped\n", r.passed, r.failed, r.skipped)
	var faults []error
	if len(r.skips) > 0 {
		faults = append(faults, fmt.Errorf("a skipped test is a failed test: %s", strings.Join(r.skips, ", ")))
	}
	if len(r.empty) > 0 {
		faults = append(faults, fmt.Errorf("a fuzz target without seeds tests nothing: %s", strings.Join(r.empty, ", ")))
	}
	if r.passed+r.failed+r.skipped == 0 {
		faults = append(faults, errors.New("no test ran"))
	}
	return errors.Join(faults...)
}
