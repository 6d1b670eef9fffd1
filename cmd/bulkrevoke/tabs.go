package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
	"github.com/bulkrevoke/bulkrevoke/pkg/report"
)

// withTab is what the files of a sheet are named after: the file, and the sheet of the
// workbook where it counts.
func withTab(sheetName, tab string) string {
	if tab == "" {
		return sheetName
	}
	ext := filepath.Ext(sheetName)
	return strings.TrimSuffix(sheetName, ext) + "." + tab + ext
}

// tabOf decides whether the files of a workbook are named after its sheet too, and returns
// what they are named after then. They are where --sheet was given, because the next sheet
// of the workbook must neither replace the first one's result nor take its history for its
// own; but a ledger that is there already goes on, under whichever of the two names it has.
// known is the sheet that is read, if that is known.
func (o *options) tabOf(ctx context.Context, sheetName, output, known string) (string, error) {
	if known == "" && o.worksheet != "" {
		known = o.worksheet // which the workbook may write otherwise, if it can still be asked
		lookInto(sheetName, o.worksheet, func(r *sheet.Reader) { known = r.Layout().Sheet })
	}
	own := ""
	if o.worksheet != "" {
		own = safeTab(known)
	}
	if o.ledger != "" {
		return own, nil
	}
	short, err := namesOf(sheetName, output, "", false, o.sandbox, o.database != "")
	if err != nil {
		return "", err
	}
	there, err := o.ledgers.exists(ctx, short.ledger)
	if err != nil {
		return "", err
	}
	longer, err := o.longerLedgers(ctx, short.ledger, known)
	switch {
	case err != nil:
		return "", err
	case own == "" && there:
		return "", nil
	case len(longer) == 1:
		return longer[0], nil
	case len(longer) > 1:
		return "", refusef("Say which sheet is meant with --sheet.", "there are ledgers of several sheets of %s: %s", sheetName, strings.Join(longer, ", "))
	case !there:
		return own, nil
	}
	sheets, err := o.ledgerSheets(ctx, short.ledger)
	if err != nil {
		if o.fresh {
			return own, nil // the ledger that cannot be read is not the one that is set aside
		}
		return "", err
	}
	unknown := false
	for _, s := range sheets {
		if strings.EqualFold(s.worksheet, known) {
			return "", nil
		}
		unknown = unknown || s.worksheet == "" && (report.IsWorkbook(s.name) || strings.Contains(strings.ToLower(s.name), ".results."))
	}
	if !unknown {
		return own, nil
	}
	named, err := namesOf(withTab(sheetName, own), output, "", false, o.sandbox, o.database != "")
	if err != nil {
		return "", err
	}
	return "", refusef(fmt.Sprintf("If it is, go on with --ledger %s; else begin with --ledger %s.", shellQuote(short.ledger), shellQuote(named.ledger)),
		"the ledger %s does not say which sheet of the workbook it is of, and may be that of %q", short.ledger, known)
}

// longerLedgers finds the ledgers that are named after a sheet of the workbook too,
// of all its sheets or of the one that is known, and returns what they are named
// after. A name that two sheets would have is refused.
func (o *options) longerLedgers(ctx context.Context, short, known string) (tabs []string, err error) {
	stem, ending := strings.TrimSuffix(filepath.Base(short), ledgerEnding), ledgerEnding
	if o.sandbox {
		stem, ending = trimSuffixFold(stem, ".sandbox"), ".sandbox"+ledgerEnding
	}
	beside, err := o.ledgers.beside(ctx, short)
	if err != nil {
		return nil, err
	}
	if o.database != "" {
		ending = ""
	}
	for _, name := range beside {
		inside, ok := strings.CutPrefix(name, stem+".")
		tab, isLedger := strings.CutSuffix(inside, ending)
		if !ok || !isLedger || known != "" && !strings.EqualFold(tab, safeTab(known)) {
			continue
		}
		sheets, err := o.ledgerSheets(ctx, filepath.Join(filepath.Dir(short), name))
		if err != nil {
			if known == "" || o.fresh {
				continue
			}
			return nil, err
		}
		of := ""
		for _, s := range sheets {
			if of == "" || strings.EqualFold(s.worksheet, known) {
				of = s.worksheet
			}
		}
		switch {
		case known == "" && (of == "" || safeTab(of) != tab): // another file's, or set aside
			continue
		case known != "" && of != "" && !strings.EqualFold(of, known):
			return nil, refusef("Name another one with --ledger.", "the ledger %s is that of the sheet %q, and not of %q", name, of, known)
		}
		tabs = append(tabs, tab)
	}
	return tabs, nil
}

// ofLedger is the sheet's title with the sheet of the workbook that the rows in the ledger
// are of.
func (j *job) ofLedger() string {
	src, ok, err := j.led.Source(context.Background())
	var layout sheet.Layout
	if err != nil || !ok || json.Unmarshal(src.Layout, &layout) != nil || layout.Sheet == "" {
		return title(j.sheet) // it is said as well as it is known
	}
	return report.Printable((&sheet.Worksheet{Name: layout.Sheet}).Of(title(j.sheet)))
}

// ledgerSheet is a sheet that a ledger has taken up.
type ledgerSheet struct {
	name      string // of the file
	worksheet string // of the workbook; "" if it was none, or by a version that kept no record of it
}

// ledgerSheets returns the sheets that a ledger has rows of.
func (o *options) ledgerSheets(ctx context.Context, name string) (list []ledgerSheet, err error) {
	led, err := o.ledgers.open(ctx, name, ledger.Options{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, led.Close()) }()
	sources, err := led.Sheets(ctx)
	if err != nil {
		return nil, err
	}
	for _, src := range sources {
		var layout sheet.Layout
		if err := json.Unmarshal(src.Layout, &layout); err != nil {
			return nil, fmt.Errorf("read how the sheet of %s was written: %w", name, err)
		}
		list = append(list, ledgerSheet{src.Name, layout.Sheet})
	}
	return list, nil
}

// safeTab makes the name of a sheet fit for the name of a file on any system, and not
// too long for it.
func safeTab(name string) string {
	const most = 100
	name = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || strings.ContainsRune(`/\:*?"<>|`, r) || r == utf8.RuneError {
			return '_'
		}
		return r
	}, name)
	for len(name) > most {
		_, n := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-n]
	}
	return name
}
