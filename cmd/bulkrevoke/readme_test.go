package main

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// TestReadmeCommands runs every block of the README that is marked "sh run", in
// order, in a folder with the samples and a copy of one as offboarding.csv. The
// CRM that the environment names is a sandbox that knows the sample's people. What is
// marked "sh run first" runs in an empty folder, in which somebody fills in what the
// README says.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	server, err := sandbox.New(sandbox.Config{Limit: -1})
	must(t, err)
	for i, address := range []string{"leaver.b@example.com", "successor@example.com", "cover@example.com", "leaver.c@example.com"} {
		server.AddUser(crm.User{ID: guidOf('a', i), Email: address, Active: true}, "Sales_User")
		server.AddUser(crm.User{ID: zohoUser(i), Email: address, Active: true}, "Standard")
	}
	for _, id := range []string{"e6b8a9b2-51d0-4f1e-9a55-0f4f8f1f2d01", "4150868000001248015"} {
		server.AddUser(crm.User{ID: id, Email: "leaver.a@example.com", Active: true}, "")
	}
	base, stop, err := sandbox.Listen("", server)
	must(t, err)
	t.Cleanup(stop)
	dir := t.TempDir()
	must(t, copySamples(filepath.Join(dir, "samples")))
	sample, err := os.ReadFile(filepath.Join(dir, "samples", "offboarding.csv"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "offboarding.csv"), sample, 0o600))

	blocks := readmeBlocks(t)
	if len(blocks) < 5 {
		t.Fatalf("the README has %d blocks to run, want at least 5", len(blocks))
	}
	must(t, os.Mkdir(filepath.Join(dir, "first"), 0o700))
	for _, b := range blocks {
		for command := range strings.Lines(b.text) {
			command = strings.TrimSpace(command)
			words := strings.Fields(strings.Replace(command, "go run ./cmd/bulkrevoke", "bulkrevoke", 1))
			if words[0] != "bulkrevoke" {
				t.Fatalf("%q: only bulkrevoke's own commands are run", command)
			}
			cmd := exec.Command(words[0], words[1:]...)
			cmd.Dir = filepath.Join(dir, b.folder)
			cmd.Stdin = strings.NewReader("1000.grant-token\n")
			cmd.Env = append(os.Environ(), "LEADSQUARED_HOST="+base, "LEADSQUARED_ACCESS_KEY=access-key", "LEADSQUARED_SECRET_KEY=secret-key",
				"ZOHO_API_URL="+base, "ZOHO_ACCOUNTS_URL="+base, "ZOHO_CLIENT_ID=client", "ZOHO_CLIENT_SECRET=client-secret", "ZOHO_REFRESH_TOKEN=refresh-token",
				"BULKREVOKE_STATE="+filepath.Join(dir, "state"), "BULKREVOKE_LIMIT=1000/1s", "HOME="+dir)
			if strings.Contains(command, "--sandbox") {
				// The sandbox of a run holds the vendor's limit.
				cmd.Env = append(cmd.Env, "BULKREVOKE_LIMIT=25/5s", "BULKREVOKE_SHARE=1")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", command, err, out)
			}
			if strings.HasSuffix(command, " init") {
				fillIn(t, cmd.Dir, base)
			}
		}
	}
	if n := len(server.Requests()); n != 16 {
		t.Errorf("the commands sent LeadSquared %d changes, want 16: the one of the first run, each row of the sample once, equal rows together, nobody out of the group that nobody is in", n)
	}
	if n := server.WritesWithoutLook(); n > 0 {
		t.Errorf("%d writes to Zoho without a fresh look", n)
	}
}

// TestReadmeFirstScreen holds the README to showing a newcomer's two commands
// before anything else.
func TestReadmeFirstScreen(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	lines := bytes.SplitAfter(text, []byte("\n"))
	screen := string(bytes.Join(lines[:min(24, len(lines))], nil))
	for _, command := range []string{"go run ./cmd/bulkrevoke run --sandbox samples/offboarding.csv", "go test ./..."} {
		if !strings.Contains(screen, "\n"+command+"\n") {
			t.Errorf("the first screen does not show %q", command)
		}
	}
}

// TestReadmeShowsARun holds the rows, lines and results that the README begins with to those
// of a run. Ids that a CRM makes, times and how long it took differ.
func TestReadmeShowsARun(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	_, shown, _ := strings.Cut(string(text), "\nThree rows go in, `leavers.csv`:\n\n")
	rows, shown, _ := strings.Cut(shown, "\n\nThe run says:\n\n```text\n")
	said, shown, _ := strings.Cut(shown, "```\n\nAnd the same three rows come back")
	_, shown, _ = strings.Cut(shown, "\n\n")
	want, _, found := strings.Cut(shown, "\n\n")
	if !found {
		t.Fatal("the README does not show rows, what a run says, and results")
	}
	r := newRig(t, sandbox.Config{})
	o := &outside{stdin: strings.NewReader(""), env: map[string]string{"BULKREVOKE_STATE": r.path("state")}}
	off := r.write("leavers.csv", tableAsCSV(rows))
	if code := o.execute(t.Context(), "run", "--sandbox", off); code != exitDone {
		t.Fatalf("the run ended with %d:\n%s", code, o.stderr.String())
	}
	_, got, _ := strings.Cut(strings.ReplaceAll(o.stderr.String(), r.dir+string(filepath.Separator), ""), "leavers.csv: ")
	alike := regexp.MustCompile(`sent in \S+`)
	if got, want := alike.ReplaceAllString("leavers.csv: "+got, "sent in a while"), alike.ReplaceAllString(said, "sent in a while"); got != want {
		t.Errorf("a run says:\n%s\nand the README shows:\n%s", got, want)
	}
	file, err := os.Open(r.path("leavers.sandbox.results.csv"))
	must(t, err)
	defer file.Close()
	results, err := csv.NewReader(file).ReadAll()
	must(t, err)
	shownRows, err := csv.NewReader(strings.NewReader(tableAsCSV(want))).ReadAll()
	must(t, err)
	if len(results) != len(shownRows) {
		t.Fatalf("the run has %d lines of results, and the README shows %d", len(results), len(shownRows))
	}
	masks := []*regexp.Regexp{regexp.MustCompile(`^[0-9a-f]{32}$`), regexp.MustCompile(`^\d{4}-\d\d-\d\dT[0-9:.]+Z$`)}
	masked := func(cell string) string {
		for i, m := range masks {
			if m.MatchString(cell) {
				return fmt.Sprint("one of kind ", i)
			}
		}
		return cell
	}
	for i, row := range shownRows {
		for col, cell := range row {
			at := slices.Index(results[0], shownRows[0][col])
			if at < 0 {
				t.Fatalf("a result has no column %s", shownRows[0][col])
			}
			if got := results[i][at]; masked(got) != masked(cell) {
				t.Errorf("line %d, %s: a run gives %q, and the README shows %q", i+1, shownRows[0][col], got, cell)
			}
		}
	}
}

// TestReadmePictures holds the pictures that the README shows to being there, in either colours.
func TestReadmePictures(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	shown := regexp.MustCompile(`"samples/([^"]+\.png)"`).FindAllStringSubmatch(string(text), -1)
	if len(shown) != 2 {
		t.Errorf("the README shows %d pictures, want one in light and one in dark colours", len(shown))
	}
	for _, m := range shown {
		file, err := os.Open(samplePath(m[1]))
		must(t, err)
		defer file.Close()
		picture, err := png.Decode(file)
		must(t, err)
		if size := picture.Bounds().Size(); size != (image.Point{X: 1100, Y: 900}) {
			t.Errorf("%s is of %v", m[1], size)
		}
	}
}

// tableAsCSV returns a table in Markdown as a sheet.
func tableAsCSV(table string) string {
	var b strings.Builder
	for i, line := range strings.Split(table, "\n") {
		if i == 1 {
			continue // the rule
		}
		cells := strings.Split(strings.TrimSuffix(strings.TrimPrefix(line, "|"), "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		b.WriteString(strings.Join(cells, ",") + "\n")
	}
	return b.String()
}

// TestReadmeShowsCheck holds what the README shows of a check to what it says.
func TestReadmeShowsCheck(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	_, shown, _ := strings.Cut(string(text), "\nbulkrevoke check\n```\n\n```text\n")
	shown, _, _ = strings.Cut(shown, "```")
	var stdout, stderr bytes.Buffer
	j := &job{app: newApp(nil, nil, &stdout, &stderr), opts: newOptions()}
	k, _ := knownCRMs().named(crmLeadSquared)
	a := &account{name: k.name, kind: k, limit: limit{25, 5 * time.Second}, share: defaultShare}
	a.host = "api-in21.leadsquared.com"
	must(t, j.tellChecked(checked{account: a, users: 214, identity: crm.Identity{
		User: "1", Name: "Ann Admin", Email: "ann@example.com", Org: "50001", Role: "Administrator", Shares: crm.Yes}}))
	if stdout.String() != shown {
		t.Errorf("a check says:\n%s\nand the README shows:\n%s", stdout.String(), shown)
	}
}

// fillIn does what the README asks of somebody who has a configuration and an empty sheet.
func fillIn(t *testing.T, folder, base string) {
	t.Helper()
	path := filepath.Join(folder, configName)
	text, err := os.ReadFile(path)
	must(t, err)
	filled := strings.NewReplacer("host: api-in21.leadsquared.com", "host: "+base, "dc: us", "api_url: "+base+"\n    accounts_url: "+base).Replace(string(text))
	must(t, os.WriteFile(path, []byte(filled), 0o600))
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	_, rows, _ := strings.Cut(string(readme), "\n```csv leavers.csv\n")
	rows, _, found := strings.Cut(rows, "```")
	if !found {
		t.Fatal("the README shows no rows for leavers.csv")
	}
	must(t, os.WriteFile(filepath.Join(folder, "leavers.csv"), []byte(rows), 0o600))
}

// readmeBlock is a block of commands, and the folder that they are run in.
type readmeBlock struct{ folder, text string }

// readmeBlocks returns the blocks to run, in order.
func readmeBlocks(t *testing.T) []readmeBlock {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	var blocks []readmeBlock
	rest := string(text)
	for {
		_, after, ok := strings.Cut(rest, "\n```sh run")
		if !ok {
			return blocks
		}
		folder, after, _ := strings.Cut(after, "\n")
		block, after, ok := strings.Cut(after, "\n```")
		if !ok {
			t.Fatal("a block of the README does not end")
		}
		blocks = append(blocks, readmeBlock{strings.TrimSpace(folder), block})
		rest = after
	}
}
