package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// durationError says that the time which a run may take is over.
type durationError struct{ most time.Duration }

func (e *durationError) Error() string {
	return fmt.Sprintf("the run took the %v of --max-duration", e.most)
}

// Is lets whoever asks for context.DeadlineExceeded see a deadline.
func (e *durationError) Is(target error) bool { return target == context.DeadlineExceeded }

// bound returns a context that ends after --max-duration, with a *durationError as
// its cause. The time counts from here: waiting for a lock and reading the sheet
// are part of it, because what it guards is when the work has to be over.
func (o *options) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if o.maxDuration <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, o.maxDuration, &durationError{o.maxDuration})
}

// rowsFlag is --max-rows. The zero value is "not given": no limit, while 0 given
// allows no row.
type rowsFlag struct {
	n     int64
	given bool
}

func (f *rowsFlag) Type() string { return "N" }

func (f *rowsFlag) String() string {
	if !f.given {
		return ""
	}
	return strconv.FormatInt(f.n, 10)
}

func (f *rowsFlag) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return errors.New("must be a number of rows, 0 or more")
	}
	*f = rowsFlag{n, true}
	return nil
}

// digestFlag is --approve: the digest of a plan, whole. A beginning of it would
// not do: two sheets that share their first 12 digits are made in a minute.
type digestFlag string

var digestPattern = regexp.MustCompile(`^[0-9a-f]{64}$`)

func (f *digestFlag) String() string { return string(*f) }
func (f *digestFlag) Type() string   { return "DIGEST" }

func (f *digestFlag) Set(s string) error {
	s = strings.ToLower(strings.TrimSpace(s))
	if !digestPattern.MatchString(s) {
		return errors.New("must be the whole digest that `bulkrevoke plan` shows, 64 hexadecimal digits")
	}
	*f = digestFlag(s)
	return nil
}

// checkPlan refuses a plan that is larger than --max-rows allows, or another one
// than --approve names.
func (o *options) checkPlan(p *batch.Plan) error {
	if o.maxRows.given && p.ToSend > o.maxRows.n {
		return refusef("Look at it with `bulkrevoke plan`, then raise --max-rows if that is what you want.",
			"%s to send, and --max-rows allows %d", report.Count(p.ToSend, "row"), o.maxRows.n)
	}
	if o.approve == "" || p.Digest == string(o.approve) {
		return nil
	}
	// Without an account nobody can say who has which address, so that its rows are
	// not those which were approved. That is for another run to find out.
	for _, a := range p.Accounts {
		if a.Ended != nil {
			return &crm.AccountError{
				Code: a.Ended.Code, Hint: a.Ended.Hint,
				Err: fmt.Errorf("account %s can not be worked with, so the plan can not be held against --approve, nothing was sent: %w", a.Account, a.Ended.Err),
			}
		}
	}
	return refusef("Look at it with `bulkrevoke plan` and approve the digest that it shows.",
		"the plan's digest is %s, not the one that --approve names", p.Digest)
}
