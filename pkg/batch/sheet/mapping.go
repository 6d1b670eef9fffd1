package sheet

import (
	"fmt"
	"slices"
	"strings"
)

// Mapping says what a column with a name of the sheet's own stands for.
type Mapping struct {
	// Header is the column's name, matched as all names are: without regard to case,
	// spaces, "_" and "-".
	Header string
	// Column is one of ours: a name of Columns, another name of it, that of a
	// permission, or NoColumn.
	Column string
	// Must has a sheet without that header refused.
	Must bool
}

// NoColumn stands for a column that means nothing to us, whatever it is called, and
// is carried through.
const NoColumn = "none"

// CheckMappings says what is wrong with mappings by themselves, "" if nothing is: a
// meaning that there is not, a header with two of them, and two headers with one
// meaning that one sheet must have.
func CheckMappings(maps []Mapping) (wrong string) {
	for i, m := range maps {
		if wrong := m.check(); wrong != "" {
			return wrong
		}
		for _, other := range maps[:i] {
			same := columnKey(m.Column) == columnKey(other.Column)
			switch {
			case SameName(m.Header, other.Header):
				return fmt.Sprintf("the column %q is mapped twice, to %s and to %s", printable(m.Header), other.Column, m.Column)
			case same && m.Must && other.Must && columnKey(m.Column) != "":
				return fmt.Sprintf("the columns %q and %q can not both stand for %s", printable(other.Header), printable(m.Header), ColumnNamed(m.Column))
			}
		}
	}
	return ""
}

// check says what is wrong with one.
func (m Mapping) check() (wrong string) {
	if trim(m.Header) == "" {
		return fmt.Sprintf("the column %q is no name of a column", printable(m.Header))
	}
	if SameName(m.Column, NoColumn) || columnKey(m.Column) != "" {
		return ""
	}
	wrong = fmt.Sprintf("the column %q is to stand for %q, which is no column of ours", printable(m.Header), printable(m.Column))
	if columnKey(m.Header) != "" {
		return wrong + fmt.Sprintf("; the name in the sheet comes first: %s=%s", printable(m.Column), printable(m.Header))
	}
	var names []string
	for _, c := range knownColumns() {
		names = append(names, c.names...)
	}
	wrong += ";"
	if near := Near(m.Column, names...); near != "" {
		wrong += " did you mean " + near + "?"
	}
	return wrong + " There are " + strings.Join(Columns(), ", ") + ", the permissions of a sales group, and " + NoColumn + " for a column that means nothing to us"
}

// SameName reports whether two names of columns count as the same.
func SameName(a, b string) bool { return fold(a) == fold(b) }

// ColumnNamed returns our own name of the column that a header names: a name of
// Columns, "user_email" for a user by address, the name of a permission, or "".
func ColumnNamed(header string) string { return nameOf(columnKey(header)) }

// mapFlag writes mappings as the flag takes them.
func mapFlag(maps ...Mapping) string {
	var pairs []string
	for _, m := range maps {
		pair := oneLine(m.Header, maxRecord) + "=" + m.Column
		if strings.ContainsAny(pair, `,"`) {
			pair = `"` + strings.ReplaceAll(pair, `"`, `""`) + `"`
		}
		pairs = append(pairs, pair)
	}
	list := strings.Join(pairs, ",")
	if strings.ContainsAny(list, "\"$`\\") {
		return "--map '" + strings.ReplaceAll(list, "'", `'\''`) + "'"
	}
	return `--map "` + list + `"`
}

// naming is what the columns of a sheet are called. The zero value knows our names
// only.
type naming struct {
	own      map[string]string // keys by folded header, "" for no meaning
	must     []string          // headers that the sheet must have, as they were given
	anything bool              // no name means anything
}

// newNaming refuses mappings that contradict themselves.
func newNaming(opt Options) (naming, error) {
	n := naming{own: make(map[string]string, len(opt.Map)), anything: opt.AnyHeader}
	for _, m := range opt.Map {
		if wrong := m.check(); wrong != "" {
			return n, &Error{Reason: wrong}
		}
		if m.Must {
			n.must = append(n.must, m.Header)
		}
		n.own[fold(m.Header)] = columnKey(m.Column)
	}
	return n, nil
}

// key returns the key of the field that a column fills, "" for none.
func (n naming) key(header string) string {
	if n.anything {
		return ""
	}
	if key, ok := n.own[fold(header)]; ok {
		return key
	}
	return columnKey(header)
}

// absent returns the headers that the sheet must have and does not, in order.
func (n naming) absent(columns []string) (headers []string) {
	for _, must := range n.must {
		if !slices.ContainsFunc(columns, func(c string) bool { return SameName(c, must) }) {
			headers = append(headers, must)
		}
	}
	return headers
}

// meanings returns what our mappings make of columns, by position: the name that
// Layout.Column gives. It is nil where no mapping has a say.
func (n naming) meanings(columns []string) map[int]string {
	var meant map[int]string
	for i, c := range columns {
		if key, ok := n.own[fold(c)]; ok && trim(c) != "" {
			if meant == nil {
				meant = make(map[int]string)
			}
			meant[i] = nameOf(key)
		}
	}
	return meant
}

// nameOf returns our own name of a column by its key, "" for none.
func nameOf(key string) string {
	for _, c := range knownColumns() {
		if c.key == key {
			return c.names[0]
		}
	}
	return ""
}

// Column returns what a column of the sheet stands for, as ColumnNamed has it.
func (l Layout) Column(i int) string {
	if name, ok := l.Mapped[i]; ok {
		return name
	}
	return ColumnNamed(l.Columns[i])
}
