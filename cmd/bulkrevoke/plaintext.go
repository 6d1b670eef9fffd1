package main

import (
	"regexp"
	"strings"
	"unicode/utf8"
)

// plainText writes the README's Markdown for a terminal of that width: paragraphs are
// wrapped, and a table that is too wide becomes a list. It reads what the README has:
// headings, paragraphs, lists of one level, tables, code, and folded parts.
func plainText(markdown string, width int) string {
	var blocks []string
	lines := strings.Split(strings.TrimSpace(markdown), "\n")
	for len(lines) > 0 {
		n, block := 1, ""
		switch line := lines[0]; {
		case line == "":
		case strings.HasPrefix(line, "```"):
			for n < len(lines) && !strings.HasPrefix(lines[n], "```") {
				block += "    " + lines[n] + "\n"
				n++
			}
			n = min(n+1, len(lines)) // the fence
		case strings.HasPrefix(line, "<details>"):
			if m := summary.FindStringSubmatch(line); m != nil {
				block = wrap(inline(m[1])+":", "", "", width)
			}
		case line == "</details>":
		case strings.HasPrefix(line, "#"):
			block = strings.ToUpper(inline(strings.TrimLeft(line, "# "))) + "\n"
		case strings.HasPrefix(line, "|"):
			for n < len(lines) && strings.HasPrefix(lines[n], "|") {
				n++
			}
			block = plainTable(lines[:n], width)
		case item.MatchString(line):
			for n < len(lines) && strings.HasPrefix(lines[n], "  ") {
				n++
			}
			block = wrap(inline(strings.Join(lines[:n], " ")), "", strings.Repeat(" ", len(item.FindString(line))), width)
			if next := lines[min(n, len(lines)-1):]; item.MatchString(next[0]) && n < len(lines) {
				block += "\x00" // the next item follows without a blank line
			}
		default:
			for n < len(lines) && lines[n] != "" && !item.MatchString(lines[n]) && !strings.HasPrefix(lines[n], "|") && !strings.HasPrefix(lines[n], "```") {
				n++
			}
			block = wrap(inline(strings.Join(lines[:n], " ")), "", "", width)
		}
		if block != "" {
			blocks = append(blocks, block)
		}
		lines = lines[n:]
	}
	return strings.ReplaceAll(strings.Join(blocks, "\n"), "\x00\n", "")
}

// item is how an item of a list begins.
var item = regexp.MustCompile(`^(\*|\d+\.) `)

// summary is what stands over a folded part.
var summary = regexp.MustCompile(`<summary>(.*)</summary>`)

// link is a link in Markdown.
var link = regexp.MustCompile(`\[([^]]*)\]\(([^)]*)\)`)

// inline takes the marks out of a text.
func inline(text string) string {
	text = link.ReplaceAllString(text, "$1 ($2)")
	return strings.NewReplacer("`", "", "**", "", `\|`, "|").Replace(text)
}

// wrap breaks a text into lines; the first begins with one text, the others with another.
func wrap(text, first, others string, width int) string {
	var b strings.Builder
	b.WriteString(first)
	at, fresh := utf8.RuneCountInString(first), true
	for _, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		if !fresh && at+1+n > width {
			b.WriteString("\n" + others)
			at, fresh = utf8.RuneCountInString(others), true
		}
		if !fresh {
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at, fresh = at+n, false
	}
	return b.String() + "\n"
}

// cells returns the cells of a line of a table.
func cells(line string) []string {
	const bar = "\x01"
	line = strings.ReplaceAll(strings.Trim(strings.TrimSpace(line), "|"), `\|`, bar)
	if strings.HasSuffix(line, `\`) { // its last cell ended in an escaped bar
		line += bar
	}
	all := strings.Split(line, "|")
	for i, cell := range all {
		all[i] = strings.TrimSpace(inline(strings.ReplaceAll(cell, bar, "|")))
	}
	return all
}

// widestTerm is the longest first cell beside which the second one stands.
const widestTerm = 24

// plainTable writes a table: of two columns, with the second beside the first where that is
// short; else each row as its first cell, and the others below it under their names.
func plainTable(lines []string, width int) string {
	header := cells(lines[0])
	var b strings.Builder
	widest := 0
	for _, line := range lines[2:] {
		widest = max(widest, utf8.RuneCountInString(cells(line)[0]))
	}
	beside := len(header) == 2 && widest <= widestTerm
	if name := strings.TrimSuffix(header[0], " ..."); name != "" && !beside {
		b.WriteString(name + ":\n\n")
	}
	for i, line := range lines[2:] {
		row := cells(line)
		if beside {
			term := "  " + row[0] + strings.Repeat(" ", widest-utf8.RuneCountInString(row[0])+2)
			b.WriteString(wrap(row[1], term, strings.Repeat(" ", widest+4), width))
			continue
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(wrap(row[0], "  ", "  ", width))
		for j, cell := range row[1:] {
			name := ""
			if len(header) > 2 && j+1 < len(header) && header[j+1] != "" {
				name = header[j+1] + ": "
			}
			if cell != "" {
				b.WriteString(wrap(name+cell, "      ", "        ", width))
			}
		}
	}
	return b.String()
}
