// Package report is what people see of a run: the result file, the plan, the
// progress, the summary. It reads the ledger and what the engine counts, decides
// nothing and sends nothing.
//
// Texts that come from a CRM pass through Printable before they reach a terminal
// or a log, and lose what would make a formula of them before they reach a file
// that a spreadsheet opens.
package report
