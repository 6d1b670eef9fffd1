package main

import (
	"strconv"
	"testing"
	"time"
)

// BenchmarkAccounts runs sheets over many accounts, 20 rows for each, against a stand-in
// in another process whose accounts let 25 calls into 5 s each and answer after 80 ms:
// with 41 calls for an account, the least possible is 5.2 s. BULKREVOKE_TEST_ACCOUNTS is
// another number of accounts.
func BenchmarkAccounts(b *testing.B) {
	sizes := []int{50, 500, 2000}
	if n := numberIn(b, "BULKREVOKE_TEST_ACCOUNTS", 0); n > 0 {
		sizes = []int{n}
	}
	const rows = 20
	for _, n := range sizes {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			for b.Loop() {
				m := newManyAccounts(b, n, 25, 5*time.Second, 80*time.Millisecond)
				m.sheet("many.csv", n, rows)
				took, cpu, memory := m.run("run", "many.csv")
				b.ReportMetric(took.Seconds(), "s")
				b.ReportMetric(cpu.Seconds(), "cpu-s")
				b.ReportMetric(float64(memory)/(1<<20), "MiB")
				if c := m.counts(); c.Changes != int64(n*rows) || c.Refused != 0 {
					b.Errorf("the stand-in has seen %+v, want %d changes and nothing refused", c, n*rows)
				}
			}
		})
	}
}
