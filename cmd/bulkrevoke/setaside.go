package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// setAside renames the ledger of earlier runs, their result and report and the
// sandbox's state, so that this run starts over. If the run is refused, they get their names
// back.
//
// A ledger that is damaged or too new may be set aside; a file that is no ledger is
// somebody else's and stays where it is. The same holds for the result.
func (j *job) setAside(ctx context.Context) error {
	ours := false // the result that is there
	old, err := j.opts.ledgers.open(ctx, j.names.ledger, ledger.Options{ReadOnly: j.db != nil})
	switch {
	case err == nil: // closed, its file can be renamed
		ours, err = old.HasWritten(ctx, j.names.output)
		if err = errors.Join(err, old.Close()); err != nil {
			return err
		}
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrNewer):
		ours = true
		j.log.Warn("the old ledger can not be read and is set aside as it is", "ledger", j.names.ledger, "error", err)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	if err := report.CheckTarget(j.names.output, ours); err != nil {
		return err
	}
	moves, err := j.asideNames(ctx, time.Now())
	if err != nil {
		return err
	}
	for from, to := range moves {
		if there, err := exists(from); err != nil {
			return err
		} else if !there {
			continue
		}
		if err := os.Rename(from, to); err != nil {
			return refusef("", "set aside: %w", err)
		}
		j.unlessCommitted(func() error {
			if there, err := exists(from); there && err == nil && from == j.opts.report {
				return os.Remove(to) // the page of the refusal stands in its place
			}
			return os.Rename(to, from)
		})
	}
	if j.db != nil {
		return j.setAsideLedger(ctx, time.Now())
	}
	return nil
}

// setAsideLedger gives a ledger in the database another name, if there is one.
func (j *job) setAsideLedger(ctx context.Context, now time.Time) error {
	from := j.names.ledger
	for n := 1; ; n++ {
		to := from + "." + timeStamp(now, n)
		switch err := j.db.ledgers.Rename(ctx, from, to, j.mayWrite); {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, fs.ErrExist) && n < mostPerSecond:
		case err != nil:
			return fmt.Errorf("set the ledger %s aside: %w", from, err)
		default:
			j.unlessCommitted(func() error {
				return unlessLost(j.db.ledgers.Rename(context.WithoutCancel(ctx), to, from, j.mayWrite))
			})
			return nil
		}
	}
}

// timeStamp is what the n-th of those that are set aside in one second are called by.
func timeStamp(now time.Time, n int) string {
	stamp := now.UTC().Format("20060102T150405Z")
	if n > 1 {
		stamp = fmt.Sprintf("%s-%d", stamp, n)
	}
	return stamp
}

// mostPerSecond is how many runs with --fresh can set files of one sheet aside in one
// second, whose time stamps are equal.
const mostPerSecond = 1000

// asideNames returns the files to set aside and the names that they get: with a
// time stamp that none of them has been set aside under before.
func (j *job) asideNames(ctx context.Context, now time.Time) (map[string]string, error) {
	paths := []string{j.names.output}
	if j.opts.report != "" && report.IsReport(j.opts.report) {
		paths = append(paths, j.opts.report)
	}
	if j.opts.sandbox {
		paths = append(paths, j.names.state)
	}
	for n := 1; n <= mostPerSecond && ctx.Err() == nil; n++ {
		unique := timeStamp(now, n)
		moves := map[string]string{}
		for _, path := range paths {
			moves[path] = asideName(path, unique)
		}
		for _, suffix := range ledgerFiles {
			if j.db != nil {
				break
			}
			moves[j.names.ledger+suffix] = asideName(j.names.ledger, unique) + suffix
		}
		free := true
		for from, to := range moves {
			taken, err := exists(to)
			switch {
			case report.IsNameTooLong(err):
				return nil, refusef(fmt.Sprintf("Move %s away yourself, or give it a shorter name.", from), "set %s aside as %s: the name is too long", from, to)
			case err != nil: // nobody can tell
				return nil, refusef("", "set %s aside as %s: %s", from, to, report.Reason(err))
			}
			free = free && !taken
		}
		if free {
			return moves, nil
		}
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return nil, refusef("Run it again, or move older ones away.",
		"every name under which %s could be set aside is taken, the last by %s", j.names.ledger, asideName(j.names.ledger, timeStamp(now, 1)))
}

// exists says whether a name is taken, by whatever. An error says that nobody can tell.
func exists(path string) (bool, error) {
	_, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// asideName puts a time stamp before the last parts of a name, so that the kinds
// of files keep their endings: offboarding.results.csv becomes
// offboarding.20261122T023531Z.results.csv. The room that a ledger's companions need
// is left to each, so that the files of one sheet are cut to one stem.
func asideName(path, stamp string) string {
	dir, base := filepath.Split(path)
	ending := filepath.Ext(base)
	for _, known := range []string{".results.csv", ".results.xlsx", ".ledger.db", ".state"} {
		if strings.HasSuffix(base, known) {
			ending = known
		}
	}
	const room = len(".results.xlsx") + len("-wal")
	padding := strings.Repeat("x", max(0, room-len(ending)))
	named := report.FitName(strings.TrimSuffix(base, ending), "."+stamp+ending+padding)
	return dir + strings.TrimSuffix(named, padding)
}
