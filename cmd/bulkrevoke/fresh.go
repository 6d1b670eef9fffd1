package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
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
	ours, err := j.closeOld(ctx)
	if err != nil {
		return err
	}
	if err := report.CheckTarget(j.names.output, ours); err != nil {
		return err
	}
	for from, to := range j.asideNames(time.Now()) {
		if err := j.moveAside(from, to); err != nil {
			return err
		}
	}
	return nil
}

// asideNames returns the files to set aside and the names that they get: with a
// time stamp that none of them has been set aside under before.
func (j *job) asideNames(now time.Time) map[string]string {
	stamp := now.UTC().Format("20060102T150405Z")
	for n := 1; ; n++ {
		unique := stamp
		if n > 1 {
			unique = fmt.Sprintf("%s-%d", stamp, n)
		}
		moves := map[string]string{j.names.output: asideName(j.names.output, unique)}
		for _, suffix := range ledgerFiles {
			moves[j.names.ledger+suffix] = asideName(j.names.ledger, unique) + suffix
		}
		if j.opts.report != "" && report.IsReport(j.opts.report) {
			moves[j.opts.report] = asideName(j.opts.report, unique)
		}
		if j.opts.sandbox {
			moves[j.names.state] = asideName(j.names.state, unique)
		}
		if !slices.ContainsFunc(slices.Collect(maps.Values(moves)), exists) {
			return moves
		}
	}
}

// exists says whether a name is taken, by whatever.
func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// closeOld brings the old ledger's file into a state in which it can be renamed,
// and says whether it wrote the result that is there.
func (j *job) closeOld(ctx context.Context) (ours bool, err error) {
	old, err := ledger.Open(j.names.ledger, ledger.Options{})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case errors.Is(err, ledger.ErrDamaged), errors.Is(err, ledger.ErrNewer):
		j.log.Warn("the old ledger can not be read and is set aside as it is", "ledger", j.names.ledger, "error", err)
		return true, nil
	case err != nil:
		return false, err
	}
	ours, err = old.HasWritten(ctx, j.names.output)
	return ours, errors.Join(err, old.Close())
}

// moveAside renames a file, if it is there, and has it named back if the run is
// refused.
func (j *job) moveAside(from, to string) error {
	if !exists(from) {
		return nil
	}
	if err := os.Rename(from, to); err != nil {
		return refusef("", "set aside: %w", err)
	}
	j.unlessAdopted(func() error { return os.Rename(to, from) })
	return nil
}

// asideName puts a time stamp before the last parts of a name, so that the kinds
// of files keep their endings: offboarding.results.csv becomes
// offboarding.20261122T023531Z.results.csv.
func asideName(path, stamp string) string {
	dir, base := filepath.Split(path)
	for _, ending := range []string{".results.csv", ".results.xlsx", ".ledger.db", ".state"} {
		if stem, ok := strings.CutSuffix(base, ending); ok {
			return dir + stem + "." + stamp + ending
		}
	}
	ext := filepath.Ext(base)
	return dir + strings.TrimSuffix(base, ext) + "." + stamp + ext
}
