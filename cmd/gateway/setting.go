package main

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/etcdrest/etcdrest/internal/kvjson"
)

// setting is an option's place in a configuration: how text becomes its value, and back.
type setting interface {
	// set takes what one source gives: one text, or more when it was repeated. Of a single value the last one counts.
	set(given []string) error
	// value is what the configuration holds, in a type that YAML and JSON write the way set reads it.
	value() any
	// words is the value for people.
	words() string
}

type text struct{ to *string }

func (s text) set(given []string) error { *s.to = last(given); return nil }
func (s text) value() any               { return *s.to }
func (s text) words() string            { return *s.to }

// list is comma-separated and may be repeated.
type list struct{ to *[]string }

func (s list) set(given []string) error {
	var all []string
	for item := range strings.SplitSeq(strings.Join(given, ","), ",") {
		if item = strings.TrimSpace(item); item != "" {
			all = append(all, item)
		}
	}
	*s.to = all
	return nil
}
func (s list) value() any    { return append([]string{}, *s.to...) }
func (s list) words() string { return strings.Join(*s.to, ",") }

// repeated keeps each text as it was given.
type repeated struct{ to *[]string }

func (r repeated) set(given []string) error { *r.to = given; return nil }
func (r repeated) value() any               { return append([]string{}, *r.to...) }
func (r repeated) words() string            { return strings.Join(*r.to, " ") }

type choice struct {
	to *string
	of []string
}

func (s choice) set(given []string) error {
	word := last(given)
	if !slices.Contains(s.of, word) {
		near := ""
		if n := kvjson.Nearest(word, s.of); n != "" {
			near = fmt.Sprintf("; did you mean %s?", n)
		}
		return fmt.Errorf("%q is not one of %s%s", word, strings.Join(s.of, ", "), near)
	}
	*s.to = word
	return nil
}
func (s choice) value() any    { return *s.to }
func (s choice) words() string { return *s.to }

type truth struct{ to *bool }

func (s truth) set(given []string) error {
	switch word := last(given); strings.ToLower(word) {
	case "true", "1":
		*s.to = true
	case "false", "0":
		*s.to = false
	default:
		return fmt.Errorf("%q is neither true nor false", word)
	}
	return nil
}
func (s truth) value() any    { return *s.to }
func (s truth) words() string { return strconv.FormatBool(*s.to) }

// seconds is a duration in whole seconds, within bounds.
type seconds struct {
	to       *time.Duration
	from, up time.Duration
}

func (s seconds) set(given []string) error {
	word := last(given)
	d, err := time.ParseDuration(word)
	if n, bare := strconv.ParseInt(word, 10, 32); bare == nil {
		d, err = time.Duration(n)*time.Second, nil
	}
	if err != nil || d%time.Second != 0 {
		return fmt.Errorf("%q is not a whole number of seconds; write 30 or 30s", word)
	}
	if d < s.from || d > s.up {
		return fmt.Errorf("%q is out of bounds; use %.0f to %.0f seconds", word, s.from.Seconds(), s.up.Seconds())
	}
	*s.to = d
	return nil
}
func (s seconds) value() any    { return int64(*s.to / time.Second) }
func (s seconds) words() string { return strconv.FormatInt(int64(*s.to/time.Second), 10) }

// size is a number of bytes, plain or with KiB, MiB or GiB.
type size struct{ to *int64 }

func (s size) set(given []string) error {
	word := last(given)
	n, err := parseBytes(word)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number of bytes above 0; write 1048576 or 1MiB", word)
	}
	*s.to = n
	return nil
}
func (s size) value() any    { return *s.to }
func (s size) words() string { return formatBytes(*s.to) }

type number struct {
	to   *int64
	from int64
}

func (s number) set(given []string) error {
	word := last(given)
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil || n < s.from {
		return fmt.Errorf("%q is not a number from %d", word, s.from)
	}
	*s.to = n
	return nil
}
func (s number) value() any    { return *s.to }
func (s number) words() string { return strconv.FormatInt(*s.to, 10) }

// fraction is a number from 0 to 1.
type fraction struct{ to *float64 }

func (s fraction) set(given []string) error {
	word := last(given)
	n, err := strconv.ParseFloat(word, 64)
	if err != nil || !(n >= 0 && n <= 1) { // NaN is neither
		return fmt.Errorf("%q is not a number from 0 to 1, such as 0.05", word)
	}
	*s.to = n
	return nil
}
func (s fraction) value() any    { return *s.to }
func (s fraction) words() string { return strconv.FormatFloat(*s.to, 'g', -1, 64) }

func last(given []string) string { return given[len(given)-1] }

func parseBytes(word string) (int64, error) {
	for shift, unit := range map[int]string{10: "KiB", 20: "MiB", 30: "GiB"} {
		if digits, ok := strings.CutSuffix(word, unit); ok {
			n, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
			if err == nil && n > 1<<(62-shift) {
				return 0, errors.New("too large")
			}
			return n << shift, err
		}
	}
	return strconv.ParseInt(word, 10, 64)
}

func formatBytes(n int64) string {
	switch {
	case n >= 1<<30 && n%(1<<30) == 0:
		return fmt.Sprintf("%dGiB", n>>30)
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%dMiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%dKiB", n>>10)
	default:
		return strconv.FormatInt(n, 10)
	}
}
