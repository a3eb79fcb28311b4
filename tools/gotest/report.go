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
	failures                []testID
	final                   bool // something failed that a second attempt does not excuse
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
		r.final = r.final || !slices.ContainsFunc(r.failures, func(id testID) bool { return id.pkg == e.Package })
		r.tellAll(e.Package)
	}
}

// isFinal knows the words of the Go runtime, of its race detector and of the test framework for what is not a matter of time.
func isFinal(text string) bool {
	for _, s := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "runtime error: ", "found unexpected goroutines"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
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
		if !isSub {
			r.failures = append(r.failures, id)
		}
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
		r.final = r.final || isFinal(said.String())
		fmt.Fprint(r.out, said.String())
		delete(r.said, id)
	}
}

// mayPassAlone gives the tests that failed, when that is all that went wrong.
func (r *report) mayPassAlone() []testID {
	if r.final || len(r.skips)+len(r.empty) > 0 {
		return nil
	}
	return r.failures
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
