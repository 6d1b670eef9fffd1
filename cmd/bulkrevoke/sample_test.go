package main

import (
	"encoding/csv"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// TestSampleInTheSandbox runs the sample as a newcomer does and compares the result
// with what the sandbox says that it did.
func TestSampleInTheSandbox(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "offboarding.csv")
	text, err := os.ReadFile(filepath.Join("..", "..", "samples", "offboarding.csv"))
	must(t, err)
	must(t, os.WriteFile(path, text, 0o600))
	sample := table(t, path)
	runSample := func() {
		o := &outside{stdin: strings.NewReader(""), env: map[string]string{"BULKREVOKE_SHARE": "1", "BULKREVOKE_PROGRESS": "never"}}
		if code := o.execute(t.Context(), "run", "--sandbox", path); code != exitDone {
			t.Fatalf("exit code is %d, want %d:\n%s", code, exitDone, o.stderr.String())
		}
	}
	runSample()
	world := worldOf(t, dir)
	result := table(t, filepath.Join(dir, "offboarding.sandbox.results.csv"))
	if len(result) != len(sample) {
		t.Fatalf("the result has %d rows, the sample %d", len(result), len(sample))
	}
	given := map[string]sandbox.Request{}
	for _, r := range world.Requests() {
		given[r.ID] = r
	}
	for i, row := range result {
		for name, cell := range sample[i] {
			if row[name] != cell {
				t.Errorf("row %d, %s: %q came back as %q", i, name, cell, row[name])
			}
		}
		result, attempts := "done", "1"
		if strings.HasPrefix(row["reason"], "nothing left to revoke") && routeByObject(row["object"]) == crmZoho {
			result, attempts = "unchanged", "0" // Zoho shows who has a record
		}
		if row["result"] != result || row["attempts"] != attempts || row["confirmed_at"] == "" {
			t.Errorf("row %d is %s after %s attempts, confirmed at %q; want %s after %s", i, row["result"], row["attempts"], row["confirmed_at"], result, attempts)
		}
		if routeByObject(row["object"]) == crmZoho {
			if row["request_id"] != "" {
				t.Errorf("row %d has request Id %q, and Zoho gives none", i, row["request_id"])
			}
			continue
		}
		req, ok := given[row["request_id"]]
		if !ok || req.Kind != row["action"] || req.Entries[0].Record != strings.ToLower(row["record_id"]) || req.Entries[0].Object != row["object"] {
			t.Errorf("row %d has request Id %q, which the sandbox gave to %+v", i, row["request_id"], req)
		}
	}
	if diff := cmp.Diff(asked(sample), inForce(world)); diff != "" {
		t.Errorf("shares in force (-asked +there):\n%s", diff)
	}
	if n := world.Mails(); n > 0 {
		t.Errorf("%d mails were sent", n)
	}

	runSample()
	if again := worldOf(t, dir).Requests(); len(again) != len(given) {
		t.Errorf("the second run sent %d changes more", len(again)-len(given))
	}
	if diff := cmp.Diff(result, table(t, filepath.Join(dir, "offboarding.sandbox.results.csv"))); diff != "" {
		t.Errorf("the second run changed the result (-before +after):\n%s", diff)
	}
}

// TestSampleShowsEverything holds the sample to what the README promises of it.
func TestSampleShowsEverything(t *testing.T) {
	t.Parallel()
	rows := table(t, filepath.Join("..", "..", "samples", "offboarding.csv"))
	seen := map[string]bool{}
	var before map[string]string
	for _, row := range rows {
		seen[row["action"]+" "+row["object"]] = true
		seen["address"] = seen["address"] || strings.Contains(row["user"], "@")
		seen["extra column"] = seen["extra column"] || row["reason"] != ""
		seen["duration"] = seen["duration"] || row["duration_minutes"] != ""
		if before != nil && before["record_id"] == row["record_id"] && strings.EqualFold(before["user"], row["user"]) {
			switch {
			case before["action"] != row["action"]:
				seen["share, then revoke"] = true
			case before["access"] == row["access"]:
				seen["equal rows"] = true
			default:
				seen["nothing left to revoke"] = true
			}
		}
		before = row
	}
	for _, want := range []string{
		"revoke lead", "share lead", "revoke opportunity", "share opportunity", "revoke sales_group", "share sales_group",
		"revoke Quotes", "share Quotes", "revoke_all Deals", "address", "extra column", "duration",
		"share, then revoke", "equal rows", "nothing left to revoke",
	} {
		if !seen[want] {
			t.Errorf("the sample shows no %s", want)
		}
	}
}

func TestSampleConfigurationIsGood(t *testing.T) {
	t.Parallel()
	cfg, err := readConfigFile(t.Context(), filepath.Join("..", "..", "samples", "bulkrevoke.yaml"), knownCRMs())
	must(t, err)
	if len(cfg.Accounts) < 2 || cfg.Default == "" || len(cfg.Protect) == 0 {
		t.Errorf("the sample shows %d accounts, default %q, protect %v", len(cfg.Accounts), cfg.Default, cfg.Protect)
	}
	if _, err := parsed(t, nil, nil, string(readSample(t, "bulkrevoke.yaml"))); err != nil {
		t.Errorf("its flags are refused: %v", err)
	}
}

func readSample(t *testing.T, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "samples", name))
	must(t, err)
	return data
}

// worldOf returns the sandbox that the run in dir left.
func worldOf(t *testing.T, dir string) *sandbox.Server {
	t.Helper()
	server, err := sandbox.New(sandbox.Config{Journal: filepath.Join(dir, "offboarding.sandbox.state")})
	must(t, err)
	must(t, server.Close())
	return server
}

// table reads a CSV file by column name.
func table(t *testing.T, path string) []map[string]string {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	defer file.Close()
	records, err := csv.NewReader(file).ReadAll()
	must(t, err)
	var rows []map[string]string
	for _, rec := range records[1:] {
		row := map[string]string{}
		for i, name := range records[0] {
			row[name] = rec[i]
		}
		rows = append(rows, row)
	}
	return rows
}

// asked returns what a sheet asks LeadSquared for: the targets whose last row shares.
func asked(rows []map[string]string) []string {
	last := map[string]string{}
	for _, row := range rows {
		if routeByObject(row["object"]) == crmZoho {
			continue
		}
		target := strings.ToLower(strings.Join([]string{row["object"], row["record_id"], row["context_id"], row["user"]}, " "))
		last[target] = row["action"] + " " + row["object"] + " " + row["record_id"] + " " + row["context_id"] + " " + row["access"]
	}
	var list []string
	for _, text := range last {
		if share, ok := strings.CutPrefix(text, "share "); ok {
			list = append(list, share)
		}
	}
	slices.Sort(list)
	return list
}

// inForce returns the shares of a sandbox in the form that asked has.
func inForce(world *sandbox.Server) []string {
	var list []string
	for _, s := range world.Shares() {
		list = append(list, s.Object+" "+s.Record+" "+s.Context+" "+s.Access.String())
	}
	slices.Sort(list)
	return list
}
