// The files suite_*_test.go hold every ledger, whatever database it stands in, to what
// package ledger promises: suite_sqlite_test.go and suite_postgres_test.go run the suite.

package ledger_test

import (
	"database/sql"
	"testing"

	"github.com/bulkrevoke/bulkrevoke/pkg/batch/ledger"
)

// Store is a place that holds one ledger.
type Store interface {
	// Open opens the ledger, each time anew. With Options.Create it makes it the first time.
	Open(o ledger.Options) (*ledger.Ledger, error)
	// DB is the ledger's database, to look at its tables and change them behind its back.
	DB(t testing.TB) *sql.DB
}

// NewStore returns a store that is empty.
type NewStore func(t testing.TB) Store

// Run runs the suite, each of its tests in parallel on ledgers of its own.
func Run(t *testing.T, newStore NewStore) {
	for _, tt := range []struct {
		name string
		test func(t *testing.T, newStore NewStore)
	}{
		{"Bind", testBind},
		{"Hold", testHold},
		{"RejectKeptAndChanged", testRejectKeptAndChanged},
		{"RejectKeptAndChangedOnOneRecord", testRejectKeptAndChangedOnOneRecord},
		{"Runs", testRuns},
		{"Source", testSource},
		{"Wrote", testWrote},
		{"ImportKeepsRows", testImportKeepsRows},
		{"ImportPages", testImportPages},
		{"ImportOrder", testImportOrder},
		{"ResolveAndReject", testResolveAndReject},
		{"RejectTakesTheRowsOfAMark", testRejectTakesTheRowsOfAMark},
		{"MarksArePaged", testMarksArePaged},
		{"Recheck", testRecheck},
		{"ReachAndShared", testReachAndShared},
		{"MatchAsks", testMatchAsks},
		{"MatchRefusesAnswersThatDoNotFit", testMatchRefusesAnswersThatDoNotFit},
		{"MatchPages", testMatchPages},
		{"Nights", testNights},
		{"WhatLeavesTheSheet", testWhatLeavesTheSheet},
		{"DroppedHeadLeavesItsMembersAlone", testDroppedHeadLeavesItsMembersAlone},
		{"CommitTakesMembers", testCommitTakesMembers},
		{"Counts", testCounts},
		{"CommitInBulk", testCommitInBulk},
		{"CommitCancelled", testCommitCancelled},
		{"Conservation", testConservation},
		{"WorkQueries", testWorkQueries},
		{"IntendAndRecord", testIntendAndRecord},
		{"TriedAgain", testTriedAgain},
		{"RecordWithoutIntent", testRecordWithoutIntent},
		{"RecordAnyBytes", testRecordAnyBytes},
		{"RefusedChanges", testRefusedChanges},
		{"FailedCommitKeepsTheChain", testFailedCommitKeepsTheChain},
		{"CommitWithoutAnswer", testCommitWithoutAnswer},
		{"ManyAtOnce", testManyAtOnce},
		{"Bystanders", testBystanders},
		{"BystandersOfRowsThatLeftTheSheet", testBystandersOfRowsThatLeftTheSheet},
		{"BystandersAfterARefusedSending", testBystandersAfterARefusedSending},
		{"Review", testReview},
		{"ReviewOfManyRows", testReviewOfManyRows},
		{"History", testHistory},
		{"ResultsByPerson", testResultsByPerson},
		{"TwoSheetsOfOneLedger", testTwoSheetsOfOneLedger},
		{"UndoneOnAWholeRecord", testUndoneOnAWholeRecord},
		{"Events", testEvents},
		{"VerifyChain", testVerifyChain},
		{"Seen", testSeen},
		{"Happened", testHappened},
		{"Lost", testLost},
		{"VerifyRows", testVerifyRows},
		{"VerifyRowsWithOlderEvents", testVerifyRowsWithOlderEvents},
		{"ReadOnly", testReadOnly},
		{"Closed", testClosed},
		{"CopiesOfEveryState", testCopiesOfEveryState},
		{"ExportDuringARun", testExportDuringARun},
		{"ExportLeavesNothingBehind", testExportLeavesNothingBehind},
		{"BringInRefuses", testBringInRefuses},
		{"MoveThereAndBack", testMoveThereAndBack},
		{"MoveIsInterrupted", testMoveIsInterrupted},
		{"Faults", testFaults},
		{"Killed", testKilled},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tt.test(t, newStore)
		})
	}
}
