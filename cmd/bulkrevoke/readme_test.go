package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
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

// TestReadmeShowsCheck holds what the README shows of a check to what it says.
func TestReadmeShowsCheck(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	must(t, err)
	_, shown, _ := strings.Cut(string(text), "```text\n")
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
