// Package tour runs the commands that a document shows and compares what they print with what it says they print.
//
// A tour is every line that begins with "$ " in the document's ```console and ```sh blocks, in order, in one shell. A line
// that begins with "> " goes on with the command above it. The lines up to the next command are what it prints:
//
//	$ curl -s localhost:8379/v1/kv/hello
//	{"key":"hello","value":"world","create_revision":…,"mod_revision":…,"version":1}
//
// In them … stands for anything within a line, and a line of nothing else for any number of lines. Every command must
// succeed, and one that shows no output must print none.
//
// A block whose first line names a file behind its language, such as ```yaml gateway.yaml, is what the reader saves under
// that name: the tour writes it.
package tour

import (
	"fmt"
	"regexp"
	"strings"
)

// Step is one command of a tour, or a file to write.
type Step struct {
	Line    int // of the command, in the document
	Command string
	Output  string // without the last newline
	// File is the name of the file whose content Output and a newline are; such a step has no command.
	File string
}

// Read reads a document. A document without a command is an error: there would be nothing to hold it to.
func Read(document string) ([]Step, error) {
	var steps []Step
	fence := ""     // what closes the block; empty outside of one
	inTour := false // the block is one that we run
	var current *Step
	for i, line := range strings.Split(document, "\n") {
		marker := fenceOf(line)
		switch {
		case fence == "" && marker != "":
			fence = marker
			language, file, _ := strings.Cut(strings.TrimLeft(strings.TrimSpace(line), "`"), " ")
			inTour = language == "console" || language == "sh"
			current = nil
			if file != "" {
				steps, inTour = append(steps, Step{Line: i + 1, File: file}), true
				current = &steps[len(steps)-1]
			}
		case fence != "" && strings.TrimSpace(line) == fence:
			fence = ""
		case fence == "" || !inTour:
		case strings.HasPrefix(line, "$ ") && (current == nil || current.File == ""):
			steps = append(steps, Step{Line: i + 1, Command: line[2:]})
			current = &steps[len(steps)-1]
		case current == nil: // a block of commands to type elsewhere shows no prompt
		case strings.HasPrefix(line, "> ") && current.Output == "" && current.File == "":
			current.Command += "\n" + line[2:]
		default:
			current.Output += line + "\n"
		}
	}
	if fence != "" {
		return nil, fmt.Errorf("a block opened with %s is not closed", fence)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("no line begins with %q in a console or sh block", "$ ")
	}
	for i := range steps {
		steps[i].Output = strings.TrimRight(steps[i].Output, "\n")
	}
	return steps, nil
}

// fenceOf returns the backticks that a line opens a block with, or nothing.
func fenceOf(line string) string {
	line = strings.TrimSpace(line)
	ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
	if len(ticks) < 3 {
		return ""
	}
	return ticks
}

// Matches says whether this is what the step's command was said to print.
func (s Step) Matches(printed string) bool {
	var pattern strings.Builder
	pattern.WriteString(`\A`)
	for line := range strings.Lines(s.Output + "\n") {
		line = strings.TrimSuffix(line, "\n")
		if line == "…" {
			pattern.WriteString(`(?:.*\n)*?`)
			continue
		}
		for i, part := range strings.Split(line, "…") {
			if i > 0 {
				pattern.WriteString(`.*?`)
			}
			pattern.WriteString(regexp.QuoteMeta(part))
		}
		pattern.WriteString(`\n`)
	}
	pattern.WriteString(`\z`)
	return regexp.MustCompile(pattern.String()).MatchString(tidy(printed) + "\n")
}

// tidy drops what a document cannot show: the carriage returns of HTTP headers, spaces at the end of lines, empty lines
// at the end.
func tidy(printed string) string {
	lines := strings.Split(strings.ReplaceAll(printed, "\r\n", "\n"), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}
