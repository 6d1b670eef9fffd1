package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

const (
	standardInput = "-" // as a command line names it
	ledgerEnding  = ".ledger.db"
)

// title is how messages call a sheet.
func title(sheetName string) string {
	if sheetName == standardInput {
		return "standard input"
	}
	return sheetName
}

// names are the files that belong to a sheet.
type names struct {
	sheet  string // as given
	output string // the result
	ledger string
	state  string // the sandbox's journal
	tab    string // what the files of a workbook are named after beside it, if they are
	// inDatabase says that ledger is the name of one in a database, and no file's.
	inDatabase bool
}

// withLedger returns the names with another ledger, beside which the state stands.
func (n names) withLedger(path string) names {
	n.ledger, n.state = path, strings.TrimSuffix(path, ledgerEnding)+".state"
	return n
}

// namesOf says what the files of a sheet are called. Results stand beside the
// sheet, or where output says; the ledger is named after the sheet and stands
// beside the result. A result file belongs to the ledger of the sheet that it came
// from, and an undo sheet to that of the sheet that it undoes. With sandbox, names have
// ".sandbox" in them, so that nothing tried out gets into the way of what is real.
//
// Standard input has no name; output and ledger must be given then.
func namesOf(sheetName, output, ledgerName string, isResult, sandbox, inDatabase bool) (names, error) {
	n := names{sheet: sheetName, output: output, ledger: ledgerName, inDatabase: inDatabase}
	if sheetName == standardInput && (output == "" || ledgerName == "") {
		return n, refusef("For instance: bulkrevoke run - -o results.csv --ledger offboarding.ledger.db",
			"a sheet from standard input needs -o and --ledger")
	}
	stem := stemOf(sheetName, isResult, sandbox)
	n.output = cmp.Or(output, stem+".results.csv")
	if inDatabase {
		n.ledger = cmp.Or(ledgerName, trimSuffixFold(filepath.Base(stem), undoEnding))
		return n, n.check()
	}
	beside := filepath.Join(filepath.Dir(n.output), trimSuffixFold(filepath.Base(stem), undoEnding)+ledgerEnding)
	n = n.withLedger(cmp.Or(ledgerName, beside))
	return n, n.check()
}

// ledgerFile is the file of the ledger, "" if it is in a database.
func (n names) ledgerFile() string {
	if n.inDatabase {
		return ""
	}
	return n.ledger
}

// inPlace says that the result takes the sheet's place, as that of a result file does.
func (n names) inPlace() bool {
	return n.sheet != standardInput && filepath.Clean(n.output) == filepath.Clean(n.sheet)
}

// names says what the files of a sheet are called, by the options and by what is there.
// worksheet is the sheet of the workbook that is read, if that is known.
func (o *options) names(ctx context.Context, sheetName, output, worksheet string, isResult bool) (n names, err error) {
	tab := ""
	if report.IsWorkbook(sheetName) && !isResult {
		if tab, err = o.tabOf(ctx, sheetName, output, worksheet); err != nil {
			return names{}, err
		}
	}
	if n, err = namesOf(withTab(sheetName, tab), output, o.ledger, isResult, o.sandbox, o.database != ""); err != nil {
		return n, err
	}
	n.sheet, n.tab = sheetName, tab
	if err = n.check(); err != nil || o.ledger != "" || sheetName == standardInput {
		return n, err
	}
	if isResult && !o.sandbox {
		if n, err = n.ofItsLedger(ctx, output, o.ledgers); err != nil {
			return n, err
		}
	}
	return o.ofItsUndone(ctx, n, isResult)
}

// namesToRead says which ledger a command reads that only writes what it was asked
// for: the one beside the sheet, or, if there is none, the one beside the output,
// where a run with that -o has put it.
func (j *job) namesToRead(ctx context.Context) (names, error) {
	o, output := j.opts, ""
	if j.sheet == standardInput {
		if o.ledger == "" {
			return names{}, refusef("For instance: bulkrevoke verify - --ledger offboarding.ledger.db", "a sheet from standard input needs --ledger")
		}
		output = standardInput // it has no name to make one of
	}
	isResult := looksLikeResult(j.sheet)
	n, err := o.names(ctx, j.sheet, output, "", isResult)
	beside := cmp.Or(o.output, o.runOutput)
	if err != nil || beside == "" {
		return n, err
	}
	if there, err := o.ledgers.exists(ctx, n.ledger); !there && err == nil && o.ledger == "" {
		if n, err = o.names(ctx, j.sheet, beside, "", isResult); err != nil {
			return n, err
		}
	}
	n.output = o.output
	return n, n.check()
}

// ofItsLedger finds the ledger of a result file whose name does not tell it: of those
// beside it, the one whose calls stand in it, or, where it has none, the one that wrote it.
// A result that this ledger wrote is replaced where it is, unless there is an output.
//
// A result without a ledger would be sent again as a whole, and is refused. Only where its
// name ends in .results is the ledger's name known: it was taken away to begin anew.
func (n names) ofItsLedger(ctx context.Context, output string, at ledgers) (names, error) {
	if there, err := at.exists(ctx, n.ledger); there || err != nil {
		return n, err
	}
	call := "" // the first that the sheet names
	lookInto(n.sheet, "", func(r *sheet.Reader) {
		for rec, err := range r.All() {
			if call = rec.CallID; err != nil || call != "" {
				return
			}
		}
	})
	var found []string
	wroteIt := false
	for _, name := range n.besides() {
		path := filepath.Join(filepath.Dir(n.sheet), name)
		led, err := ledger.Open(path, ledger.Options{ReadOnly: true})
		if err != nil {
			continue // what can not be read has no say
		}
		wrote, err := led.HasWritten(ctx, n.sheet)
		ours := wrote && call == "" || call != "" && batch.IsCallOf(led, call)
		if err := errors.Join(err, led.Close()); err == nil && ours {
			found, wroteIt = append(found, path), wrote
		}
	}
	base := filepath.Base(n.sheet)
	switch {
	case len(found) == 1:
		if wroteIt && output == "" {
			n.output = n.sheet
		}
		n = n.withLedger(found[0])
		return n, n.check()
	case len(found) > 1:
		return n, refusef("Name the one that it came from with --ledger.", "%s is a result file, and %s may have written it", n.sheet, strings.Join(found, " or "))
	case strings.EqualFold(filepath.Ext(strings.TrimSuffix(base, filepath.Ext(base))), ".results"):
		return n, nil
	}
	return n, refusef("Name the ledger of the sheet that it came from with --ledger. With a ledger that does not exist yet, all of it is sent again.",
		"%s is a result file, and the ledger that wrote it is not beside it", n.sheet)
}

// besides returns the names of the ledgers beside the sheet.
func (n names) besides() []string {
	if n.inDatabase {
		return nil
	}
	return ledgersIn(filepath.Dir(n.sheet))
}

// ledgersIn returns the names of the ledgers in a folder, none where it can not be read:
// whoever opens one is told.
func ledgersIn(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, entry := range entries {
		if strings.HasSuffix(entry.Name(), ledgerEnding) {
			names = append(names, entry.Name())
		}
	}
	return names
}

// stemOf returns the path of a sheet without what its other files have instead.
func stemOf(sheetName string, isResult, sandbox bool) string {
	stem := strings.TrimSuffix(sheetName, filepath.Ext(sheetName))
	if isResult {
		stem = trimSuffixFold(stem, ".results")
	}
	if sandbox {
		plain := trimSuffixFold(stem, undoEnding) // stays last
		stem = trimSuffixFold(plain, ".sandbox") + ".sandbox" + stem[len(plain):]
	}
	return stem
}

func trimSuffixFold(s, suffix string) string {
	if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n]
	}
	return s
}

// check refuses names that would have one file serve two purposes, and those that no
// file can have. That the sheet may be a result of its own ledger is looked at
// elsewhere.
func (n names) check() error {
	if n.inDatabase {
		return checkLedgerName(n.ledger)
	}
	same := func(a, b string) bool {
		return a != standardInput && b != standardInput && filepath.Clean(a) == filepath.Clean(b)
	}
	switch {
	case same(n.ledger, n.sheet):
		return refusef("", "the ledger and the sheet are the same file, %s", n.sheet)
	case same(n.ledger, n.output):
		return refusef("", "the ledger and the result are the same file, %s", n.output)
	}
	for _, f := range []struct{ what, path, made, flag string }{
		{"the result", n.output, n.output, "-o"},
		{"the ledger", n.ledger, n.ledger + ".lock.holder", "--ledger"},
	} {
		if _, err := exists(f.made); report.IsNameTooLong(err) {
			return refusef(fmt.Sprintf("Rename the sheet, or name a shorter file with %s.", f.flag),
				"%s %s: the name is too long", f.what, f.path)
		}
	}
	if path, err := filepath.Abs(n.ledger); err == nil && len(path) > ledger.LongestPath {
		return refusef("Move the sheet to a folder with a shorter name, or name a ledger in one with --ledger.",
			"the ledger %s: the name is too long with all its folders, %d bytes of at most %d", n.ledger, len(path), ledger.LongestPath)
	}
	return nil
}

// longestName is how many bytes the name of a ledger in a database may have.
const longestName = 200

// checkLedgerName refuses names that nobody could write on a command line again.
func checkLedgerName(name string) error {
	switch {
	case len(name) > longestName:
		return refusef("Name another one with --ledger.", "the name of the ledger is too long, %d bytes of at most %d", len(name), longestName)
	case strings.ContainsAny(name, `/\`) || slices.Contains(ledgerEndings, strings.ToLower(filepath.Ext(name))):
		return refusef("Name it as `bulkrevoke status` does, such as --ledger offboarding; a ledger in a file is brought into the database with `bulkrevoke submit --ledger-file`.",
			"--ledger %s: is the name of a file, and ledgers in a database have none", name)
	case strings.TrimSpace(name) != name || name == "" || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl):
		return refusef("Name another one with --ledger.", "the name of a ledger can have no spaces around it and no control characters: %q", name)
	}
	return nil
}
