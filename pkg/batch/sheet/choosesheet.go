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
	var full, bare []tab
	for _, t := range b.wb.sheets {
		if t.hidden || t.kind != kindRows {
			continue
		}
		ours, rows, err := b.look(t)
		switch {
		case err != nil:
			return t, err
		case ours && rows:
			full = append(full, t)
		case ours:
			bare = append(bare, t)
		case rows:
			b.sheet.Others = append(b.sheet.Others, t.name)
		}
	}
	if len(full) > 1 && !b.names.anything {
		return tab{}, &Error{Reason: fmt.Sprintf("the sheets %s all have a header and rows", describe(full)),
			Hint: fmt.Sprintf("Say which one is meant, for instance with --sheet %s.", quote(full[0].name))}
	}
	if ours := append(full, bare...); len(ours) > 0 {
		return ours[0], nil
	}
	b.sheet.Others = nil
	return b.noHeader()
}

// another is for a second sheet of the workbook.
func (b *bookSource) another() *bookSource {
	return &bookSource{wb: b.wb, opt: b.opt, names: b.names}
}

// look reads the first rows of a sheet, and says whether its header has what is needed,
// or may have, and whether it has rows beside it. A header in which formulas were never
// calculated may have any name.
func (b *bookSource) look(t tab) (ours, rows bool, err error) {
	in := b.another()
	if in.rows, err = b.wb.openSheet(t); err != nil {
		return false, false, err
	}
	defer in.rows.close() // it is only read
	cells, err := in.headerRow()
	if err == nil {
		names := b.names
		names.anything = false
		h, _ := understand(cells, in.row.line, names)
		ours = h.isResult || len(h.missing())+len(names.absent(h.columns)) <= len(in.row.never)
		err = in.read()
		if _, ok := errors.AsType[*Error](err); ok || errors.Is(err, io.EOF) {
			err = nil // whoever reads the sheet is told
		}
	} else if e, ok := errors.AsType[*Error](err); ok && !e.damaged {
		err = nil
	}
	return ours, in.filled > 1, err
}

// noHeader says what stands in the first visible sheet, where no visible sheet has a
// header of ours, and where else one is: in a lower row of another visible sheet, if
// none is in the first, or in a hidden one.
func (b *bookSource) noHeader() (tab, error) {
	sheets := b.wb.sheets
	hasRows := func(t tab) bool { return !t.hidden && t.kind == kindRows }
	first := slices.IndexFunc(sheets, hasRows)
	if first >= 0 && (b.names.anything || len(sheets) == 1) {
		return sheets[first], nil
	}
	hidden := ""
	for _, t := range sheets {
		if t.hidden && t.kind == kindRows && hidden == "" {
			if ours, _, err := b.look(t); err == nil && ours {
				hidden = fmt.Sprintf(" The hidden sheet %s has the needed columns: show it, or name it with --sheet.", quote(t.name))
			}
		}
	}
	if first < 0 {
		return tab{}, &Error{Reason: "the workbook has no visible sheet with rows", Hint: "Its sheets are " + describe(sheets) + "." + hidden}
	}
	err := b.open(sheets[first])
	e, ok := errors.AsType[*Error](err)
	if !ok {
		return sheets[first], err
	}
	e.Reason = fmt.Sprintf("sheet %s: %s", quote(b.sheet.Name), e.Reason)
	e.Hint = strings.TrimSpace(e.Hint + " The workbook's sheets are " + describe(sheets) + "; --sheet says which one is read.")
	for _, t := range sheets[first+1:] {
		if e.better > 0 {
			break
		}
		if !hasRows(t) {
			continue
		}
		in := b.another()
		lower, _ := errors.AsType[*Error](in.open(t))
		if in.rows != nil {
			in.rows.close() // it is only read
		}
		if lower != nil && lower.better > 0 {
			e.Hint += fmt.Sprintf(" In sheet %s row %d looks like the header: give --sheet %s --header-row %d.", quote(t.name), lower.better, quote(t.name), lower.better)
			break
		}
	}
	e.Hint += hidden
	return tab{}, e
}

// named finds a sheet by the name that somebody gave. Two sheets may differ in white
// space alone, and then the name must be exact.
func (b *bookSource) named(name string) (t tab, err error) {
	plain := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unseen(r) {
				return -1
			}
			return unicode.ToLower(r)
		}, s)
	}
	var same []tab
	var names []string
	for _, t := range b.wb.sheets {
		if t.name == name {
			same = []tab{t}
			break
		}
		if plain(t.name) == plain(name) {
			same = append(same, t)
		}
		names = append(names, t.name)
	}
	switch {
	case len(same) == 0:
		e := &Error{Reason: "the workbook has no sheet " + quote(name), Hint: "Its sheets are " + describe(b.wb.sheets) + "."}
		if near := Near(name, names...); near != "" {
			e.Hint = fmt.Sprintf("Did you mean %s? %s", quote(near), e.Hint)
		}
		return t, e
	case len(same) > 1:
		return t, &Error{Reason: fmt.Sprintf("%s can be each of the sheets %s", quote(name), describe(same)),
			Hint: "Give its name with the same letters and blanks."}
	case same[0].kind != kindRows:
		return t, &Error{Reason: fmt.Sprintf("the sheet %s is %s and has no rows", quote(same[0].name), kindName(same[0].kind))}
	}
	return same[0], nil
}

// quote writes the name of a sheet so that its blanks are seen.
func quote(name string) string {
	const most = 60
	if runes := []rune(name); len(runes) > most {
		name = string(runes[:most]) + "..."
	}
	return strconv.Quote(name)
}

// listed lists names, not too many of them.
func listed(names []string) string {
	const most = 12
	if more := len(names) - most; more > 0 {
		names = append(names[:most:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// describe lists sheets with what is special about them.
func describe(tabs []tab) string {
	var list []string
	for _, t := range tabs {
		name := quote(t.name)
		switch {
		case t.kind != kindRows:
			name += " (" + kindName(t.kind) + ")"
		case t.hidden:
			name += " (hidden)"
		}
		list = append(list, name)
	}
	return listed(list)
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
// it was read, and notes which columns are hidden that mean something.
func (b *bookSource) ambiguous() *Error {
	for _, k := range b.header.known {
		if slices.ContainsFunc(b.rows.hidden, func(s interval) bool { return s.from <= k.pos+1 && k.pos+1 <= s.to }) {
			b.sheet.HiddenColumns = append(b.sheet.HiddenColumns, b.columnName(k.pos+1))
		}
	}
	touching := slices.DeleteFunc(slices.Clone(b.rows.merged), func(a area) bool {
		return a.rows.from > b.row.line || a.rows.to < b.header.line || a.columns.from > b.header.width
	})
	switch n := b.sheet.HiddenRows; {
	case len(touching) > 0:
		e := &Error{Line: touching[0].rows.from, Column: touching[0].columns.from,
			Reason: "the cells " + printable(touching[0].name) + " are merged, so that one value stands for several cells",
			Hint:   "Unmerge them and write the value into every cell that it is meant for."}
		if n := len(touching); n > 1 {
			e.Reason += fmt.Sprintf("; %d areas of the table are merged in all", n)
		}
		return e
	case b.opt.HiddenRows == RefuseHidden && n > 0:
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
		return &Error{Line: b.hidden[0],
			Reason: fmt.Sprintf("%d of the %d rows of sheet %s %s hidden or filtered out (%s %s)", n, b.below, quote(b.sheet.Name), verb, noun, list),
			Hint:   "Show them or delete them; or say what is meant: --hidden-rows send takes them like all others, --hidden-rows skip leaves them out."}
	case b.opt.HiddenRows != SendHidden && b.rows.filtered && len(b.hidden) == 0:
		return &Error{Reason: fmt.Sprintf("the sheet %s has a filter that hides no row, as where it was set and not applied", quote(b.sheet.Name)),
			Hint: "Apply the filter in a spreadsheet (or clear it) and save; --hidden-rows send takes all rows."}
	}
	return nil
}
