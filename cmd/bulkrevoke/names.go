package main

import (
	"context"
	"errors"
	"path/filepath"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// standardInput is how a command line names it.
const standardInput = "-"

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
}

// namesOf says what the files of a sheet are called. Results stand beside the
// sheet, or where output says; the ledger is named after the sheet and stands
// beside the result. A result file belongs to the ledger of the sheet that it came
// from. With sandbox, names have ".sandbox" in them, so that nothing tried out
// gets into the way of what is real.
//
// Standard input has no name; output and ledger must be given then.
func namesOf(sheetName, output, ledgerName string, isResult, sandbox bool) (names, error) {
	n := names{sheet: sheetName, output: output, ledger: ledgerName}
	stem := ""
	if sheetName == standardInput {
		if output == "" || ledgerName == "" {
			return n, refusef("For instance: bulkrevoke run - -o results.csv --ledger offboarding.ledger.db",
				"a sheet from standard input needs -o and --ledger")
		}
	} else {
		stem = stemOf(sheetName, isResult, sandbox)
	}
	if n.output == "" {
		n.output = stem + ".results.csv"
	}
	if n.ledger == "" {
		n.ledger = filepath.Join(filepath.Dir(n.output), filepath.Base(stem)+".ledger.db")
	}
	n.state = strings.TrimSuffix(n.ledger, ".ledger.db") + ".state"
	return n, n.check()
}

// names says what the files of a sheet are called, by the options and by what is
// there.
func (o *options) names(ctx context.Context, sheetName, output string, isResult bool) (names, error) {
	n, err := namesOf(sheetName, output, o.ledger, isResult, o.sandbox)
	if err == nil && isResult && o.ledger == "" && !o.sandbox {
		n, err = n.ofItsLedger(ctx, o.output)
	}
	return n, err
}

// ofItsLedger finds the ledger of a sheet that is a result file under a name that
// does not tell: among those beside it, the one that wrote it. Its rows are replaced
// where they are, unless there is an output. A result whose ledger is not found would
// be sent again as a whole, and is refused.
func (n names) ofItsLedger(ctx context.Context, output string) (names, error) {
	base := filepath.Base(n.sheet)
	named := strings.EqualFold(filepath.Ext(strings.TrimSuffix(base, filepath.Ext(base))), ".results")
	if named || exists(n.ledger) || n.sheet == standardInput {
		return n, nil
	}
	candidates, err := filepath.Glob(filepath.Join(globQuote(filepath.Dir(n.sheet)), "*.ledger.db"))
	if err != nil {
		return n, err
	}
	for _, path := range candidates {
		led, err := ledger.Open(path, ledger.Options{ReadOnly: true})
		if err != nil {
			continue // what can not be read has no say
		}
		wrote, err := led.HasWritten(ctx, n.sheet)
		if err := errors.Join(err, led.Close()); err != nil || !wrote {
			continue
		}
		n.ledger = path
		if n.output = output; output == "" {
			n.output = n.sheet
		}
		n.state = strings.TrimSuffix(n.ledger, ".ledger.db") + ".state"
		return n, n.check()
	}
	return n, refusef("Name the ledger of the sheet that it came from with --ledger. With a ledger that does not exist yet, all of it is sent again.",
		"%s is a result file, and the ledger that wrote it is not beside it", n.sheet)
}

// globQuote makes a pattern of a folder's name that matches it alone.
func globQuote(dir string) string {
	if filepath.Separator == '\\' {
		return dir // there is no quoting, and brackets in a folder's name find nothing
	}
	return strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(dir)
}

// stemOf returns the path of a sheet without what its other files have instead.
func stemOf(sheetName string, isResult, sandbox bool) string {
	stem := strings.TrimSuffix(sheetName, filepath.Ext(sheetName))
	if isResult {
		stem = trimSuffixFold(stem, ".results")
	}
	if sandbox {
		stem = trimSuffixFold(stem, ".sandbox") + ".sandbox"
	}
	return stem
}

func trimSuffixFold(s, suffix string) string {
	if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
		return s[:n]
	}
	return s
}

// check refuses names that would have one file serve two purposes. That the sheet
// may be a result of its own ledger is looked at elsewhere.
func (n names) check() error {
	same := func(a, b string) bool {
		return a != standardInput && b != standardInput && filepath.Clean(a) == filepath.Clean(b)
	}
	switch {
	case same(n.ledger, n.sheet):
		return refusef("", "the ledger and the sheet are the same file, %s", n.sheet)
	case same(n.ledger, n.output):
		return refusef("", "the ledger and the result are the same file, %s", n.output)
	}
	return nil
}
