package report

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// TargetError says why a file may not be written.
type TargetError struct {
	Path   string
	Reason string
	Hint   string // what to do about it, a sentence
}

func (e *TargetError) Error() string { return fmt.Sprintf("%s: %s", e.Path, e.Reason) }

// kind is a kind of file that this package writes. A file is only ever replaced by one
// of its own kind, so that a slip of the keyboard never costs another file; links and
// folders never are.
type kind struct {
	flag string      // that names the file
	mode fs.FileMode // of the file
	// refuse says what is wrong with the regular file at a path, "" if it is of this
	// kind. Where it is nil, nothing must be there yet.
	refuse func(path string) string
}

// private is the mode of files that hold personal data.
const private fs.FileMode = 0o600

const (
	summaryStart = "{\n  \"schema\": \"bulkrevoke/summary/"
	metricsStart = "# bulkrevoke metrics"
	reportStart  = "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"bulkrevoke-ledger\" content=\""
)

// resultFile is a result that the ledger wrote (ours), and that has not become something
// else since.
func resultFile(ours bool) kind {
	return kind{"-o", private, func(path string) string {
		switch {
		case !ours:
			return "exists and was not written by this sheet's ledger"
		case !isResult(path):
			return "was a result file and is something else now"
		}
		return ""
	}}
}

func verificationFile() kind {
	return kind{"-o", private, func(path string) string {
		columns := headerOf(path, sheet.Options{}).Columns
		if n := len(columns) - len(verifyColumns()); n >= 0 && slices.Equal(columns[n:], verifyColumns()) {
			return ""
		}
		return "exists and was not written by this sheet's ledger"
	}}
}

// peopleFile is evidence by person, of whatever sheet.
func peopleFile() kind {
	return kind{"-o", private, func(path string) string {
		if slices.Equal(headerOf(path, sheet.Options{AnyHeader: true}).Columns, peopleColumns()) {
			return ""
		}
		return "exists and is no evidence by person"
	}}
}

// newFile is a file that replaces none.
func newFile() kind { return kind{"-o", private, nil} }

func summaryFile() kind {
	return kind{"--summary", private, startsWith("a summary of bulkrevoke", summaryStart)}
}

// metricsFile may be read by everybody: it holds nothing personal, and the collector
// of the metrics is another user.
func metricsFile() kind {
	return kind{"--metrics-file", 0o644, startsWith("a metrics file of bulkrevoke", metricsStart)}
}

// reportFile is a report of one ledger: one sheet's evidence does not replace
// another's. A report of a run that was refused before there was a ledger is of none,
// and gives way to any.
func reportFile(ledgerID string) kind {
	return kind{"--report", private, startsWith("a report of this sheet's ledger", reportStart+html.EscapeString(ledgerID)+`"`, reportStart+`"`)}
}

// CheckTarget says whether a result may be written to path: its folder takes files,
// and path is free, or is a result file that the ledger wrote (ours). Links, folders
// and other people's files are never written over; neither is a file that the ledger
// wrote and that has become something else since. The error is a *TargetError.
func CheckTarget(path string, ours bool) error { return resultFile(ours).check(path) }

// CheckVerified is CheckTarget for WriteVerified: path is free or a file that ends in the
// columns of a verification.
func CheckVerified(path string) error { return verificationFile().check(path) }

// CheckPeople is CheckTarget for WritePeople: path is free or such a file of any sheet.
func CheckPeople(path string) error { return peopleFile().check(path) }

// CheckReport is CheckTarget for WriteHTML: path is free or a report of the ledger with
// that ID.
func CheckReport(path, ledgerID string) error { return reportFile(ledgerID).check(path) }

// CheckSummaryFile is CheckTarget for WriteSummaryJSON: path is free or such a file of
// any sheet.
func CheckSummaryFile(path string) error { return summaryFile().check(path) }

// CheckMetrics is CheckTarget for WriteMetrics: path is free or such a file of any sheet.
func CheckMetrics(path string) error { return metricsFile().check(path) }

// secretFile is a file with a secret. It replaces any other.
func secretFile() kind { return kind{"the configuration", private, func(string) string { return "" }} }

// CheckSecret says whether a secret may be written to path: its folder takes files, and
// path is free or a regular file. The error is a *TargetError.
func CheckSecret(path string) error { return secretFile().check(path) }

// WriteSecret writes a secret and a line end to path, in the place of what was there.
func WriteSecret(ctx context.Context, path, secret string) error {
	return secretFile().replace(ctx, path, func(w io.Writer) error {
		_, err := io.WriteString(w, secret+"\n")
		return err
	})
}

// IsReport says whether a regular file is a report of whatever ledger.
func IsReport(path string) bool {
	return kind{refuse: startsWith("a report", reportStart)}.mayReplace(path) == nil
}

// ReportLedger returns the id of the ledger that a report is of, "" if path is no
// report, or one of a refusal before there was a ledger.
func ReportLedger(path string) string {
	if !IsReport(path) {
		return ""
	}
	text, err := beginning(path, len(reportStart)+100)
	if err != nil {
		return ""
	}
	id, _, _ := strings.Cut(strings.TrimPrefix(text, reportStart), `"`)
	return html.UnescapeString(id)
}

// check says whether such a file may be written to path.
func (k kind) check(path string) error {
	if err := k.mayReplace(path); err != nil {
		return err
	}
	return tryWriting(path, k.flag, probeBytes)
}

// mayReplace is check without the folder.
func (k kind) mayReplace(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return unusable(path, k.flag, err)
	}
	refused := &TargetError{Path: path, Hint: fmt.Sprintf("Move it away, or name another file with %s.", k.flag)}
	switch {
	case k.refuse == nil:
		refused.Reason = "exists already, and is not written over"
	case info.Mode()&fs.ModeSymlink != 0:
		refused.Reason = "is a symbolic link, which is never written through or over"
	case info.IsDir() && k.flag == "-o":
		refused.Reason, refused.Hint = "is a folder", "Name a file with -o."
	case !info.Mode().IsRegular():
		refused.Reason = "is not a regular file"
	default:
		refused.Reason = k.refuse(path)
	}
	if refused.Reason == "" {
		return nil
	}
	return refused
}

// unusable is the error of a name that can not even be looked at.
func unusable(path, flag string, err error) *TargetError {
	if IsNameTooLong(err) {
		return &TargetError{Path: path, Reason: "the name is too long", Hint: fmt.Sprintf("Name a shorter file with %s.", flag)}
	}
	return &TargetError{Path: path, Reason: Reason(err).Error(), Hint: fmt.Sprintf("Name another file with %s.", flag)}
}

// replace writes such a file as a whole or not at all. An error that is not a
// *TargetError gets the file's name here.
func (k kind) replace(ctx context.Context, path string, write func(io.Writer) error) error {
	may := func() error { return k.mayReplace(path) }
	err := may()
	if err == nil {
		err = replaceFile(ctx, path, k.mode, write, may)
	}
	if _, ok := errors.AsType[*TargetError](err); ok || err == nil {
		return err
	}
	return fmt.Errorf("write %s: %w", path, err)
}

// startsWith recognises files by their first bytes.
func startsWith(what string, starts ...string) func(path string) string {
	return func(path string) string {
		longest := slices.MaxFunc(starts, func(a, b string) int { return len(a) - len(b) })
		found, err := beginning(path, len(longest))
		switch {
		case err != nil:
			return err.Error()
		case slices.ContainsFunc(starts, func(start string) bool { return strings.HasPrefix(found, start) }):
			return ""
		}
		return "exists and is not " + what
	}
}

// beginning returns the first n bytes of a file, or all if it has fewer.
func beginning(path string, n int) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close() // it was only read
	b, err := io.ReadAll(io.LimitReader(file, int64(n)))
	return string(b), err
}

// isResult says whether the header of a file ends in the block of result columns. That
// of a workbook is in its first sheet beside the summary.
func isResult(path string) bool {
	var opt sheet.Options
	if IsWorkbook(path) {
		archive, err := zip.OpenReader(path)
		if err != nil {
			return false
		}
		defer archive.Close() // it was only read
		var book struct {
			Sheets []struct {
				Name string `xml:"name,attr"`
			} `xml:"sheets>sheet"`
		}
		err = xml.Unmarshal(startOf(&archive.Reader, "xl/workbook.xml"), &book)
		if err != nil || len(book.Sheets) == 0 {
			return false
		}
		if len(book.Sheets) > 1 && book.Sheets[0].Name == sheet.SummarySheet {
			book.Sheets = book.Sheets[1:]
		}
		if len(book.Sheets) == 1 && asWritten(&archive.Reader) {
			return true
		}
		opt.Sheet = book.Sheets[0].Name
	}
	return headerOf(path, opt).IsResult
}

// headerOf reads the header of a file, whatever it is; the zero value if there is none.
func headerOf(path string, opt sheet.Options) sheet.Layout {
	file, err := os.Open(path)
	if err != nil {
		return sheet.Layout{}
	}
	defer file.Close() // it was only read
	opt.Path, opt.AnyHeader = path, true
	r, err := sheet.Open(file, filepath.Base(path), opt)
	if err != nil {
		return sheet.Layout{}
	}
	defer r.Close()
	return r.Layout()
}

// mostRead bounds what is read of a part of a workbook to recognise it.
const mostRead = 1 << 20

// asWritten recognises a workbook result, without sheets of others, whose header is still as
// this package wrote it. The sheet package, which reads what other programs make of it too, takes
// workbooks up to some size only, and a result may be larger.
func asWritten(archive *zip.Reader) bool {
	row, _, found := bytes.Cut(startOf(archive, rowsPart), []byte("</row>"))
	pattern := regexp.MustCompile(`<c r="[A-Z]+1" s="\d+" t="inlineStr"><is><t[^>]*>([^<]*)</t></is></c>`)
	cells := pattern.FindAllSubmatch(row, -1)
	n := len(cells) - len(sheet.ResultColumns())
	return found && n >= 0 && bytes.HasSuffix(pattern.ReplaceAll(row, nil), []byte(`<sheetData><row r="1">`)) &&
		slices.EqualFunc(cells[n:], sheet.ResultColumns(), func(cell [][]byte, name string) bool { return string(cell[1]) == name })
}

// startOf returns what a part of a workbook begins with, or all of it; nothing where
// there is none.
func startOf(archive *zip.Reader, part string) []byte {
	in, err := archive.Open(part)
	if err != nil {
		return nil
	}
	defer in.Close()                                    // it was only read
	text, _ := io.ReadAll(io.LimitReader(in, mostRead)) // what is damaged is not recognised
	return text
}
