package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/xuri/excelize/v2"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// The workbook that init writes offers words, keeps ids as they are typed, and is a sheet
// as soon as it has a row.
func TestInitWorkbook(t *testing.T) {
	t.Parallel()
	r := newRig(t, sandbox.Config{})
	if code := r.start("init", "--quiet").wait(); code != exitDone {
		t.Fatalf("init ended with %d", code)
	}
	path := r.path("leavers.xlsx")
	book, err := excelize.OpenFile(path)
	must(t, err)
	rules, err := book.GetDataValidations("Leavers")
	must(t, err)
	offered := map[string]string{}
	for _, rule := range rules {
		offered[strings.Split(rule.Sqref, ":")[0]] = rule.Formula1
		if rule.Prompt == nil || *rule.Prompt == "" {
			t.Errorf("%s says nothing", rule.Sqref)
		}
	}
	for cell, want := range map[string]string{"A2": "revoke,share,revoke_all,keep", "B2": "sales_group,Leads", "F2": "read,write,full", "C2": ""} {
		if !strings.Contains(offered[cell], want) || want == "" && offered[cell] != "" {
			t.Errorf("%s offers %q, want %s", cell, offered[cell], want)
		}
	}
	columns, err := book.GetRows("Leavers")
	must(t, err)
	for i, value := range []string{"revoke", "Quotes", "4150868000002515001", "4150868000001248015"} {
		name, err := excelize.ColumnNumberToName(i + 1)
		must(t, err)
		style, err := book.GetColStyle("Leavers", name)
		must(t, err)
		look, err := book.GetStyle(style)
		must(t, err)
		if look.NumFmt != 49 {
			t.Errorf("column %s has the number format %d, want text", columns[0][i], look.NumFmt)
		}
		must(t, book.SetCellStr("Leavers", name+"2", value))
	}
	due := slices.Index(columns[0], "last_day")
	name, err := excelize.ColumnNumberToName(due + 1)
	must(t, err)
	must(t, book.SetCellFloat("Leavers", name+"2", 44197, 0, 64)) // 2021-01-01
	must(t, book.Save())
	got := r.runs(exitDone, "plan", "--sandbox", "--timezone", "Europe/Berlin", path)
	if !strings.Contains(got.stdout, "1 to send") || filepath.Base(path) != "leavers.xlsx" {
		t.Errorf("the plan of a row:\n%s", got.stdout)
	}
}
