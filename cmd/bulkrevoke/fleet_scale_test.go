//go:build fleet

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/pgtest"
)

const (
	fleetLatency      = 80 * time.Millisecond
	mostTransactions  = 0.2  // per row, where many accounts are worked on
	mostOfSmallSheets = 0.25 // the same in sheets of 600 rows: to take in a sheet needs some 40
	mostOfOne         = 2.0  // per row, of one account alone
	mostOfConnections = 20   // of a host
)

// fleetAccounts is how many accounts there are: 400, or BULKREVOKE_TEST_FLEET_ACCOUNTS.
func fleetAccounts(t *testing.T) int {
	t.Helper()
	return numberIn(t, "BULKREVOKE_TEST_FLEET_ACCOUNTS", 400)
}

// TestFleetScaleFewSheets has three hosts do many accounts, in one sheet for each host.
func TestFleetScaleFewSheets(t *testing.T) { fleetScale(t, fleetAccounts(t), 3, 60, 25, 5*time.Second) }

// TestFleetScaleManySheets has three hosts do many accounts, in sheets of ten.
func TestFleetScaleManySheets(t *testing.T) {
	n := fleetAccounts(t)
	fleetScale(t, n, n/10, 60, 25, 5*time.Second)
}

// TestFleetScaleManyAccounts has three hosts do 2,000 accounts no slower than the gate allows. The
// limit is one with which the calls of all of them need a third of a machine with two cores, on which
// the database and the CRM are as well.
func TestFleetScaleManyAccounts(t *testing.T) {
	if took, least := fleetScale(t, 2000, 3, 60, 25, 30*time.Second); took > least*13/10 {
		t.Errorf("it took %v, want at most 1.3 times the gate's least of %v", took, least)
	}
}

// TestFleetScaleOneAccount has one account alone, whose changes can share no transaction with
// those of others. It has rows enough that what three hosts need to begin does not count for much.
func TestFleetScaleOneAccount(t *testing.T) { fleetScale(t, 1, 1, 240, 100, 5*time.Second) }

// fleetScale has three hosts do accounts of so many rows each, with a limit of so many calls in a
// window, and returns how long that took, and how long the gate makes it take.
func fleetScale(t *testing.T, accounts, sheets, each, limit int, window time.Duration) (took, least time.Duration) {
	m := newManyAccounts(t, accounts, limit, window, fleetLatency)
	url := pgtest.Start(t).NewDatabase(t)
	submit := []string{"submit", "--quiet", "--yes"}
	for i := range sheets {
		submit = append(submit, m.part(fmt.Sprintf("part%03d.csv", i), i*accounts/sheets, (i+1)*accounts/sheets, each))
	}
	began := time.Now()
	m.env = append(m.env, "BULKREVOKE_DATABASE="+url)
	m.run(submit...)
	queued, asked := time.Since(began), m.counts()
	time.Sleep(window) // the submit's calls are none of the workers'

	db, err := pgx.Connect(t.Context(), url)
	must(t, err)
	defer db.Close(context.Background())
	before := transactions(t, db)
	// Each has room for its part alone: the first one there would else take all.
	hosts := m.workers(3, url, (sheets+2)/3)
	began = time.Now()
	connections, own := map[string]int{}, int64(0)
	for open := sheets; open > 0; time.Sleep(500 * time.Millisecond) {
		own += 2
		must(t, db.QueryRow(t.Context(), "SELECT count(*) FROM bulkrevoke.fleet_sheet WHERE state <> 'done'").Scan(&open))
		rows, err := db.Query(t.Context(), "SELECT application_name, count(*) FROM pg_stat_activity WHERE application_name LIKE 'host%' GROUP BY 1")
		must(t, err)
		var name string
		var n int
		_, err = pgx.ForEachRow(rows, []any{&name, &n}, func() error {
			connections[name] = max(connections[name], n)
			return nil
		})
		must(t, err)
		if time.Since(began) > 15*time.Minute {
			t.Fatalf("after 15 min %d sheets are not done", open)
		}
	}
	took = time.Since(began)
	after := transactions(t, db)
	spent := after - before - own
	idle := float64(transactions(t, db)-after) / statisticsDelay.Seconds() // in a second, by hosts that have nothing to do
	var memory []string
	var cpu time.Duration
	for _, h := range hosts {
		must(t, h.Process.Signal(syscall.SIGTERM))
		must(t, h.Wait())
		memory = append(memory, fmt.Sprintf("%d MiB", peakMemory(h.ProcessState)>>20))
		cpu += h.ProcessState.UserTime() + h.ProcessState.SystemTime()
	}
	c := m.counts()
	calls := (c.Calls - asked.Calls + int64(accounts) - 1) / int64(accounts)
	least = time.Duration((calls-1)/int64(limit))*window + fleetLatency
	rows := accounts * each
	work := (float64(spent) - idle*(took+statisticsDelay).Seconds()) / float64(rows)
	most := 0
	for _, n := range connections {
		most = max(most, n)
	}
	t.Logf("%d accounts of %d rows in %d sheets over 3 hosts: %.1f s, %.2f times the gate's least of %.1f s for %d calls an account (%.0f calls a second); "+
		"%.3f transactions a row, without those of idle hosts (%.1f a second); hosts: %s, %.1f s of processor time, at most %d connections each; submit before: %.1f s",
		accounts, each, sheets, took.Seconds(), took.Seconds()/least.Seconds(), least.Seconds(), calls, float64(c.Calls-asked.Calls)/took.Seconds(),
		work, idle, strings.Join(memory, ", "), cpu.Seconds(), most, queued.Seconds())
	if c.Refused != 0 || c.Changes != int64(rows) {
		t.Errorf("the CRM has seen %+v, want %d changes and nothing refused", c, rows)
	}
	want := mostTransactions
	switch {
	case accounts == 1:
		want = mostOfOne
	case sheets > 3:
		want = mostOfSmallSheets
	}
	if work > want {
		t.Errorf("%.3f transactions a row, want at most %.1f", work, want)
	}
	if most > mostOfConnections {
		t.Errorf("%d connections of one host, want at most %d", most, mostOfConnections)
	}
	return took, least
}

// statisticsDelay is how long a connection that rests may keep its part of the statistics to
// itself: PostgreSQL has ten seconds.
const statisticsDelay = 12 * time.Second

// transactions returns how many transactions the database has seen.
func transactions(t *testing.T, db *pgx.Conn) (n int64) {
	t.Helper()
	time.Sleep(statisticsDelay)
	must(t, db.QueryRow(t.Context(), "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()").Scan(&n))
	return n
}

// part writes a sheet of the accounts from first to before last, whose rows stand among each
// other.
func (m *manyAccounts) part(name string, first, last, each int) string {
	m.tb.Helper()
	var b strings.Builder
	b.WriteString(rigHead)
	for row := range each {
		for acc := first; acc < last; acc++ {
			at := acc*each + row
			fmt.Fprintf(&b, "acc%04d,revoke,lead,%d,%s,%s,read\n", acc, 7000+at, guidOf('c', at), guidOf('u', at))
		}
	}
	must(m.tb, os.WriteFile(m.file(name), []byte(b.String()), 0o600))
	return name
}

// workers starts so many hosts that do so many sheets at once, and ends them with the test.
func (m *manyAccounts) workers(n int, url string, atOnce int) (hosts []*exec.Cmd) {
	m.tb.Helper()
	path, err := program()
	must(m.tb, err)
	for i := range n {
		name := fmt.Sprintf("host%d", i)
		log, err := os.Create(m.file(name + ".log"))
		must(m.tb, err)
		defer log.Close()
		cmd := exec.Command(path, "worker", "--at-once", strconv.Itoa(atOnce))
		cmd.Dir, cmd.Stderr = m.dir, log
		cmd.Env = append(slices.Clone(m.env), "BULKREVOKE_STATE="+m.file("state-"+name), "BULKREVOKE_DATABASE="+url+"&application_name="+name)
		must(m.tb, cmd.Start())
		m.tb.Cleanup(func() { _ = cmd.Process.Kill() })
		hosts = append(hosts, cmd)
	}
	return hosts
}
