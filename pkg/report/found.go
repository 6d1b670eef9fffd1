package report

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/find"
	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

const (
	// foundSheet is the name of the sheet of a workbook of what was found.
	foundSheet     = "Found"
	decisionColumn = "decision"
	coverageStart  = "{\n  \"schema\": \"bulkrevoke/coverage/"
)

// decisions are what the drop-down of a review offers.
func decisions() []string { return []string{"revoke", "share", "keep"} }

// Found is a sheet of what people have.
type Found struct {
	Path    string
	Layout  sheet.Layout // how a text is written
	Columns []string
	// Rows are the cells of the rows, of which the first Ours are our own: the others are
	// the user's and come back as they were.
	Rows iter.Seq2[[]string, error]
	Ours int
	// Written are the hashes of what find wrote to Path before. Another file there is
	// somebody's work.
	Written []string
	// Writing is told the hash of the file before it is put in its place.
	Writing func(hash string) error
}

// foundFile is a file with one of the given hashes: nobody has changed it.
func foundFile(written []string) kind {
	return kind{"-o", private, func(path string) string {
		file, err := os.Open(path)
		if err != nil {
			return Reason(err).Error()
		}
		defer file.Close() // it is only read
		sum := sha256.New()
		if _, err := io.Copy(sum, file); err != nil {
			return Reason(err).Error()
		}
		if !slices.Contains(written, hex.EncodeToString(sum.Sum(nil))) {
			return "exists, and is not as find has written it: somebody has changed it, or something else wrote it"
		}
		return ""
	}}
}

func coverageFile() kind {
	return kind{"-o", private, startsWith("a coverage file of find", coverageStart)}
}

// CheckFound is CheckTarget for WriteFound: path is free or as find has written it.
func CheckFound(path string, written []string) error { return foundFile(written).check(path) }

// CheckCoverage is CheckTarget for WriteCoverage: path is free or a coverage file.
func CheckCoverage(path string) error { return coverageFile().check(path) }

// CoverageHash returns the hash of the sheet that a coverage file is about, "" if there is
// no such file.
func CoverageHash(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var c find.Coverage
	if json.Unmarshal(text, &c) != nil || c.Schema != find.CoverageSchema {
		return ""
	}
	return c.SHA256
}

// WriteFound writes the sheet, as a whole or not at all, and returns its hash.
func WriteFound(ctx context.Context, f Found) (hash string, err error) {
	k, sum := foundFile(f.Written), sha256.New()
	if err := k.mayReplace(f.Path); err != nil {
		return "", err
	}
	write := func(w io.Writer) error {
		w = io.MultiWriter(w, sum)
		if IsWorkbook(f.Path) {
			return f.book(w)
		}
		return f.text(w)
	}
	err = replaceFile(ctx, f.Path, k.mode, write, func() error {
		if err := k.mayReplace(f.Path); err != nil {
			return err
		}
		hash = hex.EncodeToString(sum.Sum(nil))
		return f.Writing(hash)
	})
	if _, ok := errors.AsType[*TargetError](err); ok || err == nil {
		return hash, err
	}
	return "", fmt.Errorf("write %s: %w", f.Path, err)
}

// WriteCoverage writes what was looked at, as JSON.
func WriteCoverage(ctx context.Context, path string, c *find.Coverage) error {
	return coverageFile().replace(ctx, path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		return e.Encode(c)
	})
}

// safe makes our own cells of a row inert.
func (f *Found) safe(cells []string) []string {
	for i := range min(f.Ours, len(cells)) {
		cells[i] = inert(cells[i])
	}
	return cells
}

// text writes a delimited file.
func (f *Found) text(w io.Writer) error {
	line := newCSV(w, f.Layout)
	line.add(f.Columns...)
	if err := line.end(); err != nil {
		return err
	}
	for cells, err := range f.Rows {
		if err != nil {
			return err
		}
		line.add(f.safe(cells)...)
		if err := line.end(); err != nil {
			return err
		}
	}
	return nil
}

// book writes a workbook: all cells are texts, the header stays where it is, and decisions
// are chosen from a list.
func (f *Found) book(w io.Writer) (err error) {
	file := excelize.NewFile()
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := file.SetSheetName(file.GetSheetName(0), foundSheet); err != nil {
		return err
	}
	style, err := file.NewStyle(&excelize.Style{NumFmt: textFormat})
	if err != nil {
		return err
	}
	header, err := file.NewStyle(&excelize.Style{NumFmt: textFormat, Font: bold(11)})
	if err != nil {
		return err
	}
	if err := f.choices(file); err != nil {
		return err
	}
	out, err := file.NewStreamWriter(foundSheet)
	if err != nil {
		return err
	}
	for i, name := range f.Columns {
		width := float64(max(foundWidth(name), len(name)+4))
		if err := out.SetColWidth(i+1, i+1, width); err != nil {
			return err
		}
	}
	if err := out.SetPanes(&excelize.Panes{Freeze: true, YSplit: 1, TopLeftCell: "A2", ActivePane: "bottomLeft"}); err != nil {
		return err
	}
	row := 0
	add := func(cells []string, style int) error {
		if row++; row > excelize.TotalRows {
			return tooMany(f.Path, row)
		}
		values := make([]any, len(cells))
		for i, cell := range cells {
			if n := sheet.Units(cell); n > excelize.TotalCellChars {
				return tooLong(f.Path, fmt.Sprintf("column %d of row %d", i+1, row), n)
			}
			if values[i] = (excelize.Cell{StyleID: style}); cell != "" {
				values[i] = excelize.Cell{StyleID: style, Value: cell}
			}
		}
		return out.SetRow(fmt.Sprintf("A%d", row), values)
	}
	if err := add(f.Columns, header); err != nil {
		return err
	}
	for cells, err := range f.Rows {
		if err != nil {
			return err
		}
		if err := add(f.safe(cells), style); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return file.Write(w)
}

// choices makes the column of decisions one that is chosen from a list.
func (f *Found) choices(file *excelize.File) error {
	at := slices.Index(f.Columns, decisionColumn)
	if at < 0 {
		return nil
	}
	list := excelize.NewDataValidation(true)
	column := columnName(at)
	list.SetSqref(fmt.Sprintf("%s2:%s%d", column, column, excelize.TotalRows))
	if err := list.SetDropList(decisions()); err != nil {
		return err
	}
	list.SetError(excelize.DataValidationErrorStyleStop, "No decision", "Choose "+strings.Join(decisions(), ", ")+".")
	return file.AddDataValidation(foundSheet, list)
}

// foundWidth is how wide a column is that holds more than its header.
func foundWidth(column string) int {
	switch column {
	case "record_id", "user", "context_id":
		return 38
	case "seen_at":
		return 26
	case "note", "reason":
		return 60
	}
	return narrowest
}

// FindPlanned tells what a find is to do.
func FindPlanned(p *find.Plan) Event {
	var b strings.Builder
	fmt.Fprintf(&b, "find: %s, about %s%s, about %s; no change is sent\n", plainPeople(p.People), Count(p.Calls, "call"), more(p.Made), roughly(p.Time))
	for _, a := range p.Accounts {
		fmt.Fprintf(&b, "  %s (%s): %s, about %s\n", Printable(a.Account), Printable(a.Host), plainPeople(a.People), Count(a.Calls, "call")+creditsOf(a))
		if a.Ended != nil {
			fmt.Fprintf(&b, "    can not be worked with: %s\n", Printable(a.Ended.Error()))
		}
		for _, part := range a.Parts {
			fmt.Fprintf(&b, "    %s\n", Printable(part))
		}
	}
	if p.Guess {
		fmt.Fprintf(&b, "  how many groups people are in is not known: it is taken for one each\n")
	}
	return Event{Text: b.String(), Name: "find planned", Attrs: []slog.Attr{
		slog.Int("people", p.People), slog.Int64("calls_made", p.Made), slog.Int64("calls", p.Calls), slog.Float64("seconds", p.Time.Round(time.Second).Seconds()),
	}}
}

// creditsOf tells what an account's calls take of its credits.
func creditsOf(a find.PlanAccount) string {
	if a.Credits == 0 {
		return ""
	}
	return " and " + Count(a.Credits, "credit")
}

func plainPeople(n int) string {
	if n == 1 {
		return "1 person"
	}
	return fmt.Sprintf("%d people", n)
}

func more(made int64) string {
	if made == 0 {
		return ""
	}
	return fmt.Sprintf(" more (%d so far)", made)
}

// FindSummary tells people what was found, and what of it was looked at.
func FindSummary(c *find.Coverage, rows int64) Event {
	var b strings.Builder
	r := c.Rows
	fmt.Fprintf(&b, "%s: %s", c.Output, Count(rows, "row"))
	if r.Share > 0 {
		fmt.Fprintf(&b, ", %d of them for successors", r.Share)
	}
	if r.Ours > 0 {
		fmt.Fprintf(&b, ", %d known from earlier ledgers only", r.Ours)
	}
	b.WriteByte('\n')
	if told := r.Inherited + r.Group + r.Role + r.Public; told > 0 {
		fmt.Fprintf(&b, "seen, and no row can take it away: %d (inherited %d, group %d, role %d, public %d); --review lists them\n", told, r.Inherited, r.Group, r.Role, r.Public)
	}
	word := "complete in its scope"
	if !c.Complete {
		word = "not complete"
	}
	fmt.Fprintf(&b, "%s:\n", word)
	for _, a := range c.Accounts {
		fmt.Fprintf(&b, "  %s (%s), %s\n", Printable(a.Account), Printable(a.Host), Count(a.Calls, "call"))
		if a.Ended != "" {
			fmt.Fprintf(&b, "    ended early: %s\n", Printable(a.Ended))
		}
		for _, p := range a.Parts {
			complete := "not complete"
			if p.Complete {
				complete = "complete"
			} else if p.Fine {
				complete = "left alone"
			}
			fmt.Fprintf(&b, "    %s, %s: %s, %d of %d looked at", p.Part, Printable(p.Scope), complete, p.LookedAt, p.Listed)
			for _, f := range []struct {
				n    int64
				what string
			}{{p.Gone, "gone"}, {p.Refused, "refused"}, {p.Skipped, "skipped"}} {
				if f.n > 0 {
					fmt.Fprintf(&b, ", %d %s", f.n, f.what)
				}
			}
			if p.Note != "" {
				fmt.Fprintf(&b, " (%s)", Printable(p.Note))
			}
			b.WriteByte('\n')
		}
	}
	b.WriteString("never covered:\n")
	for _, n := range c.NotCovered {
		fmt.Fprintf(&b, "  %s\n", Printable(n))
	}
	return Event{Text: b.String()}
}

// FindEnded is the last that machines are told of a find. c is nil where it was refused.
func FindEnded(c *find.Coverage, rows int64, code int) Event {
	level := slog.LevelInfo
	if code != 0 {
		level = slog.LevelWarn
	}
	attrs := []slog.Attr{slog.Int("exit_code", code)}
	if c != nil {
		attrs = append(attrs, slog.String("file", c.Output), slog.Int64("rows", rows), slog.Any("counts", c.Rows), slog.Bool("complete", c.Complete), slog.Int64("calls", c.Calls))
	}
	return Event{Name: "find ended", Level: level, Attrs: attrs}
}
