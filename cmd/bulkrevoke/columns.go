package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/sheet"
)

// mapFlag is --map: what columns of the sheet stand for, as "Lead No=record_id". It
// may be given again; a name with a comma in it stands in quotes.
type mapFlag []sheet.Mapping

func (f *mapFlag) Type() string { return "LIST" }

// String returns what Set takes.
func (f *mapFlag) String() string {
	var pairs []string
	for _, m := range *f {
		pair := m.Header + "=" + m.Column
		if strings.ContainsAny(pair, "\",\r\n") {
			pair = `"` + strings.ReplaceAll(pair, `"`, `""`) + `"`
		}
		pairs = append(pairs, pair)
	}
	return strings.Join(pairs, ",")
}

func (f *mapFlag) Set(s string) error {
	records, err := csv.NewReader(strings.NewReader(s)).ReadAll()
	if err != nil {
		return errors.New(`a name with a comma or a quote in it must stand in quotes, each quote written twice`)
	}
	maps := slices.Clone(*f)
	for _, pair := range slices.Concat(records...) {
		i := strings.LastIndex(pair, "=")
		if i < 0 {
			return fmt.Errorf("%q is not a column of the sheet, =, and one of ours, as in Lead No=record_id", strings.TrimSpace(pair))
		}
		maps = append(maps, sheet.Mapping{Header: strings.TrimSpace(pair[:i]), Column: strings.TrimSpace(pair[i+1:]), Must: true})
	}
	if wrong := sheet.CheckMappings(maps); wrong != "" {
		return errors.New(wrong)
	}
	*f = maps
	return nil
}

// columnNames is `columns` of the configuration: as --map, but for all sheets, which
// need not have these columns. Two of them may stand for one of ours, as different
// sheets call it.
type columnNames []sheet.Mapping

// UnmarshalYAML takes a list of names such as "Lead No: record_id".
func (c *columnNames) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind != yaml.MappingNode {
		return fmt.Errorf("line %d: columns: takes a line for each column, such as `Lead No: record_id`", node.Line)
	}
	for header, column := range pairs(node) {
		if column.Kind != yaml.ScalarNode || column.Tag == "!!null" {
			return fmt.Errorf("line %d: columns: %s: names one column of ours, such as `Lead No: record_id`", header.Line, header.Value)
		}
		// The sheets that are written here have our own names, and mean what they say.
		if ours := sheet.ColumnNamed(header.Value); slices.Contains(sheet.Columns(), ours) && sheet.SameName(header.Value, ours) {
			return fmt.Errorf("line %d: columns: %s is a column of ours, and means the same in all sheets; for a sheet in which it means something else give --map %q",
				header.Line, header.Value, header.Value+"="+column.Value)
		}
		*c = append(*c, sheet.Mapping{Header: header.Value, Column: column.Value})
		if wrong := sheet.CheckMappings(*c); wrong != "" {
			return fmt.Errorf("line %d: columns: %s", header.Line, wrong)
		}
	}
	return nil
}

// headerRowFlag is --header-row; 0 is "not given".
type headerRowFlag int

func (f *headerRowFlag) Type() string { return "N" }

func (f *headerRowFlag) String() string {
	if *f == 0 {
		return ""
	}
	return strconv.Itoa(int(*f))
}

func (f *headerRowFlag) Set(s string) error {
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 {
		return errors.New("must be the number of a row, 1 or more")
	}
	*f = headerRowFlag(n)
	return nil
}

// sheetOptions says how the sheet is read, which may be found at path too. What --map
// says of a column, or of one of ours, stands over the configuration.
func (j *job) sheetOptions(path string) sheet.Options {
	maps := slices.DeleteFunc(slices.Clone(j.cfg.Columns), func(m sheet.Mapping) bool {
		return slices.ContainsFunc(j.opts.columns, func(given sheet.Mapping) bool {
			ours := sheet.ColumnNamed(given.Column)
			return sheet.SameName(given.Header, m.Header) || ours != "" && ours == sheet.ColumnNamed(m.Column)
		})
	})
	hidden := map[string]sheet.HiddenRows{"refuse": sheet.RefuseHidden, "send": sheet.SendHidden, "skip": sheet.SkipHidden}
	return sheet.Options{
		Sheet: j.opts.worksheet, HiddenRows: hidden[j.opts.hiddenRows.value], Map: append(maps, j.opts.columns...),
		HeaderRow: int(j.opts.headerRow), AllowEmpty: j.opts.allowEmpty, Path: path,
	}
}
