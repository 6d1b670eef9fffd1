package sheet

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// hiddenShown is how many hidden rows a message names.
const hiddenShown = 5

// choose finds the sheet that is to be read: the one that was named, or the only
// visible one that has a header of ours and rows, or else the first with such a
// header.
func (b *bookSource) choose() (tab, error) {
	if b.opt.Sheet != "" {
		return b.named(b.opt.Sheet)
	}
	var full, bare, others []glance
	for _, t := range b.wb.sheets {
		if t.hidden || t.kind != kindRows {
			continue
		}
		g, err := b.look(t)
		switch {
		case err != nil:
			return t, err
		case g.ours && g.rows > 1:
			full = append(full, g)
		case g.ours:
			bare = append(bare, g)
		case g.rows > 1:
			others = append(others, g)
		}
	}
	switch {
	case len(full) > 1 && !b.names.anything:
		return tab{}, severalSheets(full)
	case len(full)+len(bare) == 0:
		return b.noHeader()
	}
	for _, g := range others {
		b.sheet.Others = append(b.sheet.Others, g.tab.name)
	}
	return append(full, bare...)[0].tab, nil
}

// glance is what the first rows of a sheet say about it.
type glance struct {
	tab  tab
	ours bool // its header has what is needed, or may have
	rows int  // that are not blank: 0, 1 or 2
}

// look reads the first rows of a sheet. A header in which formulas were never
// calculated may have any name.
func (b *bookSource) look(t tab) (g glance, err error) {
	g.tab = t
	in := &bookSource{wb: b.wb, opt: b.opt, names: b.names}
	if in.rows, err = b.wb.openSheet(t); err != nil {
		return g, err
	}
	defer in.rows.close() // it is only read
	cells, err := in.headerRow(b.opt.HeaderRow, b.names)
	if f, ok := errors.AsType[*fault](err); ok && !f.damaged {
		g.rows = min(in.filled, 2)
		return g, nil
	}
	if err != nil {
		return g, err
	}
	names := b.names
	names.anything = false
	h, _ := understand(cells, in.line, names)
	g.ours = h.isResult || len(h.missing())+len(names.absent(h.columns)) <= len(in.never)
	if _, err = in.nextFilled(); errors.Is(err, io.EOF) {
		err = nil
	} else if _, ok := errors.AsType[*fault](err); ok {
		err = nil // whoever reads the sheet is told
	}
	g.rows = min(in.filled, 2)
	return g, err
}

func severalSheets(sheets []glance) *fault {
	var tabs []tab
	for _, g := range sheets {
		tabs = append(tabs, g.tab)
	}
	return &fault{reason: fmt.Sprintf("the sheets %s all have a header and rows", strings.Join(describe(tabs), ", ")),
		hint: fmt.Sprintf("Say which one is meant, for instance with --sheet %s.", quote(tabs[0].name))}
}

// noHeader says what stands in the first visible sheet, where no visible sheet has a
// header of ours, and where else one is.
func (b *bookSource) noHeader() (tab, error) {
	first := slices.IndexFunc(b.wb.sheets, func(t tab) bool { return !t.hidden && t.kind == kindRows })
	all := "Its sheets are " + strings.Join(describe(b.wb.sheets), ", ") + "."
	if first < 0 {
		return tab{}, &fault{reason: "the workbook has no visible sheet with rows", hint: all + b.hiddenHeader()}
	}
	t := b.wb.sheets[first]
	if b.names.anything || len(b.wb.sheets) == 1 {
		return t, nil
	}
	err := b.open(t)
	f, ok := errors.AsType[*fault](err)
	if !ok {
		return t, err
	}
	f.reason = fmt.Sprintf("sheet %s: %s", quote(t.name), f.reason)
	f.hint = strings.TrimSpace(f.hint + " The workbook's sheets are " + strings.Join(describe(b.wb.sheets), ", ") +
		"; --sheet says which one is read." + b.lowerHeader(f, first) + b.hiddenHeader())
	return t, f
}

// lowerHeader names the visible sheet in which a lower row looks like a header of ours,
// where none does in the first visible one.
func (b *bookSource) lowerHeader(f *fault, first int) string {
	if f.better > 0 {
		return ""
	}
	for _, t := range b.wb.sheets[first+1:] {
		if t.hidden || t.kind != kindRows {
			continue
		}
		in := &bookSource{wb: b.wb, opt: b.opt, names: b.names}
		f, _ := errors.AsType[*fault](in.open(t))
		if in.rows != nil {
			in.rows.close() // it is only read
		}
		if f != nil && f.better > 0 {
			return fmt.Sprintf(" In sheet %s row %d looks like the header: give --sheet %s --header-row %d.", quote(t.name), f.better, quote(t.name), f.better)
		}
	}
	return ""
}

// hiddenHeader names the hidden sheet that has a header of ours.
func (b *bookSource) hiddenHeader() string {
	for _, t := range b.wb.sheets {
		if !t.hidden || t.kind != kindRows {
			continue
		}
		if g, err := b.look(t); err == nil && g.ours {
			return fmt.Sprintf(" The hidden sheet %s has the needed columns: show it, or name it with --sheet.", quote(t.name))
		}
	}
	return ""
}

// named finds a sheet by the name that somebody gave. Two sheets may differ in white
// space alone, and then the name must be exact.
func (b *bookSource) named(name string) (tab, error) {
	var same, all []tab
	for _, t := range b.wb.sheets {
		switch {
		case t.name == name:
			return t, t.check()
		case plainName(t.name) == plainName(name):
			same = append(same, t)
		}
		all = append(all, t)
	}
	switch len(same) {
	case 1:
		return same[0], same[0].check()
	case 0:
		f := &fault{reason: "the workbook has no sheet " + quote(name), hint: "Its sheets are " + strings.Join(describe(all), ", ") + "."}
		var names []string
		for _, t := range all {
			names = append(names, t.name)
		}
		if near := Near(name, names...); near != "" {
			f.hint = fmt.Sprintf("Did you mean %s? %s", quote(near), f.hint)
		}
		return tab{}, f
	}
	return tab{}, &fault{reason: fmt.Sprintf("%s can be each of the sheets %s", quote(name), strings.Join(describe(same), ", ")),
		hint: "Give its name with the same letters and blanks."}
}

// check refuses a sheet that has no rows to read.
func (t tab) check() error {
	if t.kind == kindRows {
		return nil
	}
	return &fault{reason: fmt.Sprintf("the sheet %s is %s and has no rows", quote(t.name), kindName(t.kind))}
}

// plainName makes names of sheets comparable.
func plainName(s string) string {
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// quote writes the name of a sheet so that its blanks are seen.
func quote(name string) string {
	const most = 60
	if runes := []rune(name); len(runes) > most {
		name = string(runes[:most]) + "..."
	}
	return strconv.Quote(name)
}

// quoteNames writes names of sheets, not too many of them.
func quoteNames(names []string) []string {
	var tabs []tab
	for _, name := range names {
		tabs = append(tabs, tab{name: name, kind: kindRows})
	}
	return describe(tabs)
}

// describe lists sheets with what is special about them.
func describe(tabs []tab) []string {
	const most = 12
	var list []string
	for i, t := range tabs {
		if i == most {
			return append(list, fmt.Sprintf("and %d more", len(tabs)-most))
		}
		name := quote(t.name)
		switch {
		case t.kind != kindRows:
			name += " (" + kindName(t.kind) + ")"
		case t.hidden:
			name += " (hidden)"
		}
		list = append(list, name)
	}
	return list
}

// kindName says what a sheet is that holds no rows.
func kindName(kind string) string {
	switch kind {
	case "chartsheet":
		return "a chart"
	case "dialogsheet":
		return "a dialog"
	case "xlMacrosheet", "xlIntlMacrosheet":
		return "a macro sheet"
	}
	return "no worksheet"
}

// ambiguous refuses a sheet that shows something else than it holds, now that all of
// it was read.
func (b *bookSource) ambiguous() *fault {
	if b.names.anything {
		return nil
	}
	b.hiddenColumns()
	touching := slices.DeleteFunc(slices.Clone(b.rows.merged), func(a area) bool {
		return a.rows.from > b.line || a.rows.to < b.at || a.columns.from > b.header.width
	})
	switch {
	case len(touching) > 0:
		f := &fault{line: touching[0].rows.from, column: touching[0].columns.from,
			reason: "the cells " + printable(touching[0].name) + " are merged, so that one value stands for several cells",
			hint:   "Unmerge them and write the value into every cell that it is meant for."}
		if n := len(touching); n > 1 {
			f.reason += fmt.Sprintf("; %d areas of the table are merged in all", n)
		}
		return f
	case b.opt.HiddenRows == RefuseHidden && b.sheet.HiddenRows > 0:
		return b.refuseHidden()
	case b.opt.HiddenRows != SendHidden && b.rows.filtered && len(b.hidden) == 0:
		return &fault{reason: fmt.Sprintf("the sheet %s has a filter that hides no row, as where it was set and not applied", quote(b.sheet.Name)),
			hint: "Apply the filter in a spreadsheet (or clear it) and save; --hidden-rows send takes all rows."}
	}
	return nil
}

// refuseHidden says which rows are hidden.
func (b *bookSource) refuseHidden() *fault {
	n := b.sheet.HiddenRows
	verb, noun := "are", "lines"
	if n == 1 {
		verb, noun = "is", "line"
	}
	var lines []string
	for _, line := range b.hidden {
		lines = append(lines, strconv.Itoa(line))
	}
	list := strings.Join(lines, ", ")
	if more := n - len(lines); more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return &fault{line: b.hidden[0],
		reason: fmt.Sprintf("%d of the %d rows of sheet %s %s hidden or filtered out (%s %s)", n, b.below, quote(b.sheet.Name), verb, noun, list),
		hint:   "Show them or delete them; or say what is meant: --hidden-rows send takes them like all others, --hidden-rows skip leaves them out."}
}

// hiddenColumns notes which columns are hidden that mean something.
func (b *bookSource) hiddenColumns() {
	for _, k := range b.header.known {
		if slices.ContainsFunc(b.rows.hidden, func(s interval) bool { return s.from <= k.pos+1 && k.pos+1 <= s.to }) {
			b.sheet.HiddenColumns = append(b.sheet.HiddenColumns, b.columnName(k.pos+1))
		}
	}
}
