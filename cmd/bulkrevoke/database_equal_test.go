package main

import (
	"os"
	"strings"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm/sandbox"
)

// Whatever is done with files comes to the same with a database.
func TestDatabaseIsEqualToFiles(t *testing.T) {
	t.Parallel()
	t.Run("run again, edited, undone", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			s.seedGroup(1, 1, 2)
			rows := []string{lead("revoke", 1), lead("share", 2), member("revoke", 1, 1), member("share", 1, 3), lead("revoke", 4)}
			off := s.sheet(rows...)
			s.do(exitDone, "plan", off)
			s.do(exitRefused, "results", off)
			s.do(exitDone, "run", off)
			s.do(exitDone, "run", off)
			s.do(exitDone, "plan", off)
			s.do(exitDone, "plan", "--json", off)
			s.do(exitDone, "verify", off)
			s.do(exitDone, "results", "--open", off)
			s.do(exitDone, "results", "--by-person", off)
			// Lines inserted, moved and removed.
			s.sheet(lead("revoke", 7), rows[4], rows[0], lead("share", 8), rows[3])
			s.do(exitDone, "plan", off)
			s.do(exitDone, "verify", off)
			s.do(exitDone, "run", off)
			s.do(exitDone, "results", off)
			s.do(exitDone, "undo", off)
			undo := s.path("off.undo.csv")
			s.do(exitDone, "plan", undo)
			s.do(exitDone, "run", undo)
			s.do(exitDone, "plan", off)
			s.do(exitOpen, "verify", off)
			s.do(exitDone, "results", off)
			s.do(exitDone, "run", off)
			s.do(exitRefused, "run", "--fresh", undo)
			// The result as a sheet.
			s.do(exitDone, "run", s.path("off.results.csv"))
			s.do(exitDone, "run", "--fresh", off)
			s.do(exitDone, "verify", off, "-o", s.path("verified.csv"))
		})
	})
	t.Run("invalid rows and failures", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			off := s.sheet(lead("revoke", 1), lead("fire", 2), strings.Replace(lead("revoke", 3), "7003", "4.15E+18", 1))
			s.do(exitRefused, "run", off)
			s.do(exitOpen, "run", "--skip-invalid", off)
			s.do(exitDone, "results", "--open", off)
			s.do(exitDone, "results", "--open", "-o", s.path("open.csv"), off)
			s.do(exitOpen, "verify", off)
			s.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultException, Type: "MXNoSuchThing", Text: "no", Status: 400})
			s.sheet(leads(60)...)
			s.do(exitStopped, "run", "--stop-after-failures", "3", "--workers", "1", off)
			s.server.ClearFaults()
			s.do(exitDone, "run", off)
			s.do(exitRefused, "run", "--max-rows", "1", "--fresh", off)
			s.do(exitDone, "results", off)
		})
	})
	t.Run("dates", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			off := s.write("off.csv", "action,object,record_id,context_id,user,last_day\n"+
				"revoke,lead,7001,"+guidOf('c', 1)+","+guidOf('u', 1)+",2020-01-31\n"+
				"revoke,lead,7002,"+guidOf('c', 2)+","+guidOf('u', 2)+",2999-01-31\n")
			s.do(exitRefused, "run", off)
			s.do(exitDone, "run", "--timezone", "UTC", off)
			s.do(exitDone, "results", "--by-person", "--sla", "24h", off)
			s.do(exitDone, "verify", off)
		})
	})
	t.Run("in doubt", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			s.server.Fault(sandbox.Fault{Op: "EntityAccess.Share", Kind: sandbox.FaultResetAfter, Times: 1})
			off := s.sheet(lead("share", 1))
			s.do(exitOpen, "run", off)
			s.do(exitOpen, "run", off)
			s.do(exitDone, "run", "--redo-in-doubt", off)
		})
	})
	t.Run("records looked at", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			s.seedQuote(1, 1, 2, 3)
			off := s.sheet(quote("revoke", 1, 1), quote("share", 1, 9), quote("revoke", 1, 2), quote("revoke", 1, 8))
			s.do(exitDone, "plan", "--json", off)
			s.do(exitOpen, "run", off)
			s.do(exitOpen, "verify", off)
			s.do(exitDone, "undo", off)
			s.do(exitDone, "run", s.path("off.undo.csv"))
			s.do(exitOpen, "run", off)
			s.do(exitDone, "results", "--open", off)
		})
	})
	t.Run("workbook", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			book := s.workbook("off.xlsx", []string{"November", "Leavers December"}, [][]string{{lead("revoke", 1)}, {lead("revoke", 1), lead("revoke", 2)}}, nil)
			s.do(exitRefused, "run", book)
			s.do(exitDone, "run", "--sheet", "leavers DECEMBER", book)
			s.do(exitDone, "run", "--sheet", "November", book)
			s.do(exitRefused, "results", book)
			s.do(exitDone, "verify", "--sheet", "November", book)
			s.do(exitDone, "undo", "--sheet", "Leavers December", book)
			s.do(exitDone, "run", s.path("off.Leavers December.undo.csv"))
			s.do(exitDone, "run", "--sheet", "leavers december", book)
			s.do(exitDone, "run", s.path("off.November.results.csv"))
		})
	})
	t.Run("stopped and asked", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			off := s.sheet(leads(6)...)
			s.do(exitRefused, "run", "--approve", "0123456789ab", off)
			s.do(exitStopped, "run", "--max-duration", "1ns", off)
			s.server.Fault(sandbox.Fault{Op: "EntityAccess.Revoke", Kind: sandbox.FaultVerbatim, Status: 401, Body: `{"Status":"Error","ExceptionType":"MXInvalidAPICredentialsException","ExceptionMessage":"no"}`})
			s.do(exitStopped, "run", off)
			s.server.ClearFaults()
			s.do(exitDone, "run", "--confirm", "off", off)
			s.do(exitDone, "run", off)
			s.do(exitDone, "run", "--allow-empty", s.write("none.csv", rigHead))
			s.do(exitRefused, "run", s.write("bad.csv", "action,object\nrevoke,lead\n"))
			s.do(exitRefused, "results", s.path("bad.csv"))
			s.do(exitRefused, "verify", s.path("bad.csv"))
			s.do(exitRefused, "undo", s.path("bad.csv"))
		})
	})
	t.Run("elsewhere, and standard input", func(t *testing.T) {
		played(t, sandbox.Config{}, func(s *story) {
			off := s.sheet(leads(3)...)
			must(t, os.Mkdir(s.path("out"), 0o700))
			s.do(exitDone, "run", off, "-o", s.path("out/other.csv"), "--ledger", s.path("off.ledger.db"))
			data, err := os.ReadFile(off)
			must(t, err)
			s.given(string(data), exitDone, "run", "-", "-o", s.path("stdin.csv"), "--ledger", s.path("in.ledger.db"))
			s.given(string(data), exitDone, "run", "-", "-o", s.path("stdin.csv"), "--ledger", s.path("in.ledger.db"))
			s.given("", exitDone, "verify", "-", "--ledger", s.path("in.ledger.db"))
			s.given("", exitDone, "undo", "-", "--ledger", s.path("in.ledger.db"), "-o", s.path("back.csv"))
		})
	})
}
