package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// mixedConfig has an account of each CRM, both served by one sandbox.
const mixedConfig = `
accounts:
  lsq:
    crm: leadsquared
    host: BASE
    access_key: env:CRASH_KEY
    secret_key: env:CRASH_SECRET
    limit: 100/500ms
    share: 1
  crm:
    crm: zoho
    api_url: BASE
    accounts_url: BASE
    client_id: client
    client_secret: env:CRASH_KEY
    refresh_token: env:CRASH_SECRET
    limit: 100/500ms
    share: 1
    max_in_flight: 8
    verify_after: 50ms
`

// TestMixedSheetKilledAtRandomInstants is the campaign over both CRMs and sales
// groups. Beside what the other one promises, nobody may lose or gain access whom
// the sheet does not name.
func TestMixedSheetKilledAtRandomInstants(t *testing.T) {
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	seed := testSeed(t)
	c := &campaign{t: t, dice: newDice(seed, 2), delays: newDice(seed, 12), path: path}
	for want := 2 * kills(t); c.kills < want && !t.Failed(); {
		c.begin()
		c.mixedSheet(want)
	}
	t.Logf("%d kills over %d sheets: %d rows, %d in doubt, no bystander touched", c.kills, c.sheets, c.rows, c.inDoubt)
}

// mixedSheet takes one sheet to its end through as many kills as it meets.
func (c *campaign) mixedSheet(want int) {
	t := c.t
	short := func() time.Duration { return time.Duration(c.delays.IntN(40)) * time.Millisecond }
	server, err := sandbox.New(sandbox.Config{
		Limit: crashLimit, Window: crashWindow, Latency: short, Processing: short, ShowAllPermissions: true,
		Zoho: sandbox.ZohoConfig{TokenLimit: -1},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	base, stop, err := sandbox.Listen("127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	m := newMixed(c.dice.Rand(), 50)
	m.seed(server)
	dir := t.TempDir()
	sheetName, configName := filepath.Join(dir, "leavers.csv"), filepath.Join(dir, "bulkrevoke.yaml")
	lines := strings.SplitAfter(strings.TrimSuffix(m.sheet(), "\n"), "\n")
	for i, r := range m.rows {
		account := "lsq"
		if routeByObject(r.op.Object) == crmZoho {
			account = "crm"
		}
		lines[i+1] = account + "," + lines[i+1]
	}
	lines[0] = "account," + lines[0]
	for name, text := range map[string]string{
		sheetName: strings.Join(lines, "") + "\n", configName: strings.ReplaceAll(mixedConfig, "BASE", base),
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(kill bool, flags ...string) int {
		args := append([]string{"run", sheetName, "--config", configName, "--progress", "never"}, flags...)
		return c.start(dir, kill, []string{"CRASH_KEY=u$rkey123456", "CRASH_SECRET=secret123456"}, args...)
	}
	for c.kills < want {
		if code := run(true); code >= 0 {
			break // it came to its end before the kill
		}
		c.kills++
	}
	code := run(false)
	output := filepath.Join(dir, "leavers.results.csv")
	doubt := 0
	for _, r := range readResults(t, output) {
		if r["result"] == "in_doubt" {
			doubt++
		}
	}
	c.inDoubt += doubt
	for n := 0; code != 0 && n < 3; n++ {
		code = run(false, "--redo-in-doubt")
	}
	if code != 0 {
		t.Errorf("exit %d at the end, want 0", code)
	}
	c.sheets++
	c.rows += len(m.rows)
	results := readResults(t, output)
	if len(results) != len(m.rows) {
		t.Fatalf("%d result rows for %d rows", len(results), len(m.rows))
	}
	for i, r := range results {
		if r["line"] != fmt.Sprint(i+2) || r["result"] != "done" && r["result"] != "unchanged" {
			t.Errorf("row %d is line %s, %s (%s %s), want it done or unchanged", i+1, r["line"], r["result"], r["code"], r["message"])
		}
	}
	m.check(t, server)
	for _, a := range server.Arrivals() {
		if a.Refused {
			t.Errorf("%s was refused by a limit", a.Op)
		}
	}
}
