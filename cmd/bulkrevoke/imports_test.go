package main

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/bulkrevoke/bulkrevoke/"

// layers are the packages from top to bottom: a package imports only what stands
// below it, and of that only what mayImport leaves it.
var layers = []string{
	"cmd/bulkrevoke", "pkg/report", "pkg/batch", "pkg/batch/find", "pkg/batch/plan", "pkg/batch/sheet", "pkg/batch/ledger", "pkg/batch/fleet", "pkg/batch/pgtest",
	"pkg/crm/sandbox", "pkg/crm/leadsquared", "pkg/crm/zoho", "pkg/crm/transport", "pkg/crm",
}

// mayImport narrows the order of the layers, with the reason.
var mayImport = map[string]struct {
	only   []string
	reason string
}{
	"pkg/crm":             {nil, "the domain knows nobody"},
	"pkg/crm/transport":   {[]string{"pkg/crm"}, "it carries requests for any provider"},
	"pkg/crm/leadsquared": {[]string{"pkg/crm", "pkg/crm/transport"}, "a provider knows its transport and the domain"},
	"pkg/crm/zoho":        {[]string{"pkg/crm", "pkg/crm/transport"}, "a provider knows its transport and the domain"},
	"pkg/crm/sandbox":     {[]string{"pkg/crm"}, "a stand-in that shares code with a provider shares its mistakes"},
	"pkg/batch/ledger":    {[]string{"pkg/crm"}, "the truth does not depend on who writes it"},
	"pkg/batch/fleet":     {[]string{"pkg/crm"}, "it hands out sheets and the right to send, whatever they are for"},
	"pkg/batch/pgtest":    {nil, "it starts a server for anybody's tests"},
	"pkg/batch/sheet":     {[]string{"pkg/crm"}, "a sheet is read the same whatever it is for"},
	"pkg/batch/plan":      {[]string{"pkg/crm"}, "rules are pure"},
	"pkg/batch":           {[]string{"pkg/batch/plan", "pkg/batch/sheet", "pkg/batch/ledger", "pkg/crm"}, "the engine sees providers, never a CRM"},
	"pkg/batch/find":      {[]string{"pkg/batch/plan", "pkg/batch/sheet", "pkg/batch/ledger", "pkg/crm"}, "it sees finders, never a CRM, and nothing of a run"},
	"pkg/report":          {[]string{"pkg/batch", "pkg/batch/find", "pkg/batch/sheet", "pkg/batch/ledger", "pkg/crm"}, "a report makes no calls"},
}

// homes says where an outside library may be imported.
var homes = map[string][]string{
	"golang.org/x/time":                 {"pkg/crm/transport"},
	"golang.org/x/oauth2":               {"pkg/crm/zoho"},
	"golang.org/x/sync":                 {"pkg/batch"},
	"golang.org/x/sys":                  {"pkg/crm/transport", "pkg/batch/fleet"},
	"golang.org/x/text":                 {"pkg/batch/sheet"},
	"golang.org/x/term":                 {"cmd/bulkrevoke", "pkg/report"},
	"github.com/gocarina/gocsv":         {"pkg/batch/sheet", "pkg/report"},
	"github.com/xuri/excelize/v2":       {"pkg/report"},
	"github.com/schollz/progressbar/v3": {"pkg/report"},
	"github.com/spf13/cobra":            {"cmd/bulkrevoke"},
	"github.com/spf13/pflag":            {"cmd/bulkrevoke"},
	"go.yaml.in/yaml/v3":                {"cmd/bulkrevoke"},
	"github.com/gofrs/flock":            {"cmd/bulkrevoke"},
	"modernc.org/sqlite":                {"pkg/batch/ledger"},
	"github.com/jackc/pgx/v5":           {"pkg/batch/ledger", "pkg/batch/fleet", "pkg/batch/pgtest"},
	"github.com/riverqueue/river":       {"pkg/batch/fleet"},
	"net/http":                          {"cmd/bulkrevoke", "pkg/crm/sandbox", "pkg/crm/leadsquared", "pkg/crm/zoho", "pkg/crm/transport"},
	"github.com/google/go-cmp":          {},
	"github.com/rogpeppe/go-internal":   {},
}

// imports returns what each package imports, its tests left out.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-f", `{{.ImportPath}}{{range .Imports}} {{.}}{{end}}`, module+"...")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	found := make(map[string][]string)
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		found[strings.TrimPrefix(words[0], module)] = words[1:]
	}
	return found
}

func TestImportsGoDownTheLayers(t *testing.T) {
	t.Parallel()
	for pkg, imported := range imports(t) {
		for _, problem := range checkImports(pkg, imported) {
			t.Error(problem)
		}
	}
}

// checkImports returns what is wrong with a package's imports, with the reason.
func checkImports(pkg string, imported []string) []string {
	var problems []string
	level := slices.Index(layers, pkg)
	if level < 0 {
		return []string{pkg + " has no place among the layers"}
	}
	for _, path := range imported {
		if own, ok := strings.CutPrefix(path, module); ok {
			if slices.Index(layers, own) <= level {
				problems = append(problems, pkg+" imports "+own+", which stands above it")
			}
			if rule, ok := mayImport[pkg]; ok && !slices.Contains(rule.only, own) {
				problems = append(problems, pkg+" imports "+own+": "+rule.reason)
			}
			continue
		}
		for library, where := range homes {
			if (path == library || strings.HasPrefix(path, library+"/")) && !slices.Contains(where, pkg) {
				problems = append(problems, pkg+" imports "+path+", whose home is "+strings.Join(where, ", "))
			}
		}
		first, _, _ := strings.Cut(path, "/")
		if strings.Contains(first, ".") && !slices.ContainsFunc(slices.Collect(maps.Keys(homes)), func(library string) bool {
			return path == library || strings.HasPrefix(path, library+"/")
		}) {
			problems = append(problems, pkg+" imports "+path+", which has no home")
		}
	}
	return problems
}

// TestImportRulesBite gives the check what it is there to find.
func TestImportRulesBite(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ pkg, path, want string }{
		{"pkg/crm", module + "pkg/crm/transport", "stands above"},
		{"pkg/crm", module + "pkg/crm/transport", "knows nobody"},
		{"pkg/crm/sandbox", module + "pkg/crm/zoho", "shares its mistakes"},
		{"pkg/crm/leadsquared", module + "pkg/crm/zoho", "its transport and the domain"},
		{"pkg/batch", module + "pkg/crm/zoho", "never a CRM"},
		{"pkg/batch", "net/http", "whose home is"},
		{"pkg/report", "net/http", "whose home is"},
		{"pkg/batch/plan", module + "pkg/batch/ledger", "rules are pure"},
		{"pkg/batch", "modernc.org/sqlite", "whose home is"},
		{"pkg/crm", "example.com/new/library", "has no home"},
		{"pkg/util", "fmt", "no place"},
	} {
		problems := strings.Join(checkImports(tc.pkg, []string{tc.path}), "\n")
		if !strings.Contains(problems, tc.want) {
			t.Errorf("%s importing %s: %q, want something with %q", tc.pkg, tc.path, problems, tc.want)
		}
	}
	if problems := checkImports("pkg/batch", []string{module + "pkg/crm", "context", "golang.org/x/sync/errgroup"}); len(problems) > 0 {
		t.Errorf("what is allowed is refused: %q", problems)
	}
}

func TestTopLevelHoldsNothingElse(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	allowed := []string{"cmd", "pkg", "samples", "go.mod", "go.sum", "Dockerfile", "README.md"}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s stands at the top level", e.Name())
		}
	}
}

// Another CRM is a package and an entry in the table: nothing else of the command knows
// one by name, nor do the engine and the reports.
func TestOnlyTheTableNamesCRMs(t *testing.T) {
	t.Parallel()
	named := regexp.MustCompile(`(?i)leadsquared|zoho`)
	table := 0
	for _, dir := range []string{"cmd/bulkrevoke", "pkg/report", "pkg/batch", "pkg/batch/find", "pkg/batch/plan", "pkg/batch/sheet", "pkg/batch/ledger", "pkg/batch/fleet"} {
		files, err := filepath.Glob(filepath.Join("..", "..", dir, "*.go"))
		must(t, err)
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			text, err := os.ReadFile(path)
			must(t, err)
			found := named.FindAllIndex(text, -1)
			if filepath.Base(path) == "crms.go" {
				table += len(found)
			} else if len(found) > 0 {
				t.Errorf("%s names a CRM: %q", path, text[found[0][0]:found[0][1]])
			}
		}
	}
	if table == 0 {
		t.Error("the table names no CRM: the test looks for the wrong thing")
	}
}
