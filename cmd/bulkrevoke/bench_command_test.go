package main

import (
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// commander starts the built command as a process, as a user does.
type commander struct {
	b    *testing.B
	path string
	dir  string
	host string
}

func newCommander(b *testing.B, host string) *commander {
	b.Helper()
	path, err := program()
	must(b, err)
	return &commander{b: b, path: path, dir: b.TempDir(), host: host}
}

// file is the path of a file in the commands' folder.
func (c *commander) file(name string) string { return filepath.Join(c.dir, name) }

// run runs a command to its end and returns how long it took, from start to exit,
// and its peak memory in bytes. Any exit code but 0 ends the benchmark.
func (c *commander) run(args ...string) (took time.Duration, memory int64) {
	c.b.Helper()
	cmd := exec.Command(c.path, append(args, "--quiet")...)
	cmd.Env = append(os.Environ(), "BULKREVOKE_STATE="+c.file("state"), "LEADSQUARED_HOST="+c.host,
		"LEADSQUARED_ACCESS_KEY=u$rkey123456", "LEADSQUARED_SECRET_KEY=secret123456")
	var errs strings.Builder
	cmd.Stderr, cmd.Dir = &errs, c.dir
	start := time.Now()
	err := cmd.Run()
	took = time.Since(start)
	if err != nil {
		c.b.Fatalf("%v: %v\n%s", args, err, errs.String())
	}
	return took, peakMemory(cmd.ProcessState)
}

// report runs a command and reports its time and memory under a name.
func (c *commander) report(name string, args ...string) {
	c.b.Helper()
	took, memory := c.run(args...)
	c.b.ReportMetric(took.Seconds(), name+"-s")
	c.b.ReportMetric(float64(memory)/(1<<20), name+"-MiB")
	c.b.Logf("%s: %.2f s, %d MiB", name, took.Seconds(), memory>>20)
}

// BenchmarkCommands measures the commands on a big sheet as processes, from start to
// exit, with their peak memory: the plan before anything was done, the run against
// a server that accepts everything at once, the plan and the run of a sheet that is
// all done, the result file and evidence by person.
func BenchmarkCommands(b *testing.B) {
	rows := scaleRows(b)
	server := httptest.NewServer(acceptEverything())
	defer server.Close()
	for b.Loop() {
		c := newCommander(b, server.URL)
		file, err := os.Create(c.file("sheet.csv"))
		must(b, err)
		_, err = io.Copy(file, &bigSheet{n: rows})
		must(b, errors.Join(err, file.Close()))
		free := []string{"--limit", "100000/1s", "--share", "1", "--confirm", "off"}
		c.report("plan", append(free, "plan", "sheet.csv")...)
		c.report("run", append(free, "run", "sheet.csv", "--workers", strconv.Itoa(benchWorkers))...)
		info, err := os.Stat(c.file("sheet.ledger.db"))
		must(b, err)
		b.ReportMetric(float64(info.Size())/float64(rows), "ledger-B/row")
		c.report("plan-done", append(free, "plan", "sheet.csv")...)
		c.report("run-done", append(free, "run", "sheet.csv")...)
		c.report("results", "results", "sheet.csv")
		c.report("by-person", "results", "--by-person", "sheet.csv")
	}
}

// BenchmarkOneRow runs a sheet of one row, from start to exit, against a sandbox
// without delay: preflight, change, confirming look and result file.
func BenchmarkOneRow(b *testing.B) {
	world, err := sandbox.New(sandbox.Config{})
	must(b, err)
	defer world.Close()
	host, stop, err := sandbox.Listen("127.0.0.1:0", world)
	must(b, err)
	defer stop()
	c := newCommander(b, host)
	var times []float64
	for n := 0; b.Loop(); n++ {
		name := "one" + strconv.Itoa(n) + ".csv"
		sheet, err := io.ReadAll(&bigSheet{n: 1})
		must(b, errors.Join(err, os.WriteFile(c.file(name), sheet, 0o600)))
		took, _ := c.run("run", name)
		times = append(times, float64(took.Microseconds())/1000)
	}
	b.ReportMetric(median(times), "ms-start-to-exit")
}
