package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
)

// limit is "N calls in a window".
type limit struct {
	Calls  int
	Window time.Duration
}

// parseLimit reads "25/5s".
func parseLimit(s string) (limit, error) {
	calls, window, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(calls))
	if !ok || err != nil || n < 1 || n > 100_000 {
		return limit{}, fmt.Errorf("%q is not a number of calls and a time, such as 25/5s", s)
	}
	w, err := time.ParseDuration(strings.TrimSpace(window))
	if err != nil || w < 10*time.Millisecond || w > 24*time.Hour {
		return limit{}, fmt.Errorf("%q is not a number of calls and a time, such as 25/5s", s)
	}
	return limit{n, w}, nil
}

// limitFlag is a limit as a flag. The zero value is "not given".
type limitFlag struct{ limit }

func (f *limitFlag) String() string {
	if f.Calls == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", f.Calls, f.Window)
}

func (f *limitFlag) Type() string { return "N/DURATION" }

func (f *limitFlag) Set(s string) (err error) {
	f.limit, err = parseLimit(s)
	return err
}

// shareFlag is the part of the limit that a run may take. Zero is "not given".
type shareFlag float64

func (f *shareFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.FormatFloat(float64(*f), 'g', -1, 64)
}

func (f *shareFlag) Type() string { return "F" }

func (f *shareFlag) Set(s string) error {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || !(v > 0 && v <= 1) {
		return errors.New("must be more than 0 and at most 1")
	}
	*f = shareFlag(v)
	return nil
}

// workersFlag is how many calls may be under way at once. Zero is "not given".
type workersFlag int

func (f *workersFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.Itoa(int(*f))
}

func (f *workersFlag) Type() string { return "N" }

func (f *workersFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > 1024 {
		return errors.New("must be between 1 and 1024")
	}
	*f = workersFlag(n)
	return nil
}

// guardFlag is --stop-after-failures: a number of rows, or a percentage.
type guardFlag struct{ batch.Guard }

func (f *guardFlag) String() string {
	if f.Failures > 0 {
		return strconv.FormatInt(f.Failures, 10)
	}
	return strconv.FormatFloat(f.Percent, 'g', -1, 64) + "%"
}

func (f *guardFlag) Type() string { return "N|P%" }

func (f *guardFlag) Set(s string) error {
	if percent, ok := strings.CutSuffix(s, "%"); ok {
		p, err := strconv.ParseFloat(percent, 64)
		if err != nil || !(p > 0 && p <= 100) {
			return errors.New("a percentage must be more than 0% and at most 100%")
		}
		f.Guard = batch.Guard{Percent: p}
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 {
		return errors.New("must be a number of rows, at least 1, or a percentage such as 20%")
	}
	f.Guard = batch.Guard{Failures: n}
	return nil
}

// oneOf is a flag that takes one of a few words.
type oneOf struct {
	value string
	words []string
}

func (f *oneOf) String() string { return f.value }
func (f *oneOf) Type() string   { return strings.Join(f.words, "|") }

func (f *oneOf) Set(s string) error {
	for _, w := range f.words {
		if strings.EqualFold(s, w) {
			f.value = w
			return nil
		}
	}
	return fmt.Errorf("must be one of %s", strings.Join(f.words, ", "))
}
