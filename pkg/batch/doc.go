// Package batch is the engine: it loads rows, of a sheet or of any other source, into the
// ledger, decides with package plan what is still to be done, does it through the accounts'
// providers, confirms it, and knows when to stop. It sees [crm.Provider] and never a CRM.
//
// A batch goes through its steps in this order, with room in between for the caller's
// locks and questions:
//
//	b := batch.New(ledger, options)
//	b.LoadSheet(ctx, reader) checks every row, b.Load those of any sequence; nothing is sent
//	b.Connect(name, ...)     for each account of b.Used(), if it has no provider yet
//	plan := b.Prepare(ctx)   asks the CRMs who is who; says what would be done
//	b.Commit(ctx)            makes the rows the ledger's
//	summary := b.Run(ctx)    does them
//
// Starting and resuming are the same steps. Memory does not grow with the rows: they
// stream through the ledger.
//
// # The way of a row
//
// This is what happens to one row of a sheet, a revoke whose user is named by an address,
// from the command line to the result file. Each line is a function, in the order in which
// they are called; what stands deeper is called by what stands above it.
//
//	main, app.execute                       cmd: arguments, environment and configuration
//	job.run                                 the whole of a run, top to bottom
//	  openSheet, sheet.Open                 bytes, delimiter, header
//	  lockLedger, openLedger                one run at a time; ledger.Open
//	  checkOutput, checkEvidence            all that will be written is tried
//	  openAccounts                          the accounts' rules, from the configuration
//	  load, Batch.LoadSheet
//	    sheet.Reader.All                    a record, with its line
//	    Batch.row, crm.Rules.Check          the record as an operation, or why it is invalid
//	    ledger.Import.Add                   into the import's tables
//	  connect, connectAccounts              lock and gate of each organisation, a provider for each account
//	    connection.findOrganisation         Provider.Identify, where nobody knows whose keys these are
//	  Batch.Prepare                         all accounts side by side
//	    start, Provider.Identify            whose keys these are; that the ledger is of this place
//	    directories.resolve                 Provider.Users; ledger.Import.Resolve
//	    protect                             nobody touches those who may not be touched
//	    match
//	      ledger.Import.Match               rows and history, record by record, in one stream
//	      plan.Targets, plan.Decide         what of a target is done already, what goes together
//	      hold                              a row before its date waits, and those behind it
//	    checkClocks, Provider.Clock         dates count only where the CRM's clock agrees
//	    plan                                ledger.Import.Counts: what there is to do and what it costs
//	  ask                                   the operator, on a terminal
//	  Batch.Commit, ledger.Import.Commit    the sheet is the ledger's, durably
//	  Batch.Run                             a loop for each account
//	    loop.run, schedule.next             what is next; ledger.Next reads ahead
//	    loop.hand, loop.execute             a free worker takes it
//	      round, ledger.OfKey               what may go of the row's key
//	      doAll, Provider.Do                looks, and asks for the change to be announced:
//	        journal.Intend                  ledger.Intend, durable before it is sent
//	        transport.Client.Send           the gate, the secret, the wire
//	      call.outcome, ledger.Record       what became of it, durable
//	    loop.take                           accepted: to be confirmed later; done: the key is free
//	    schedule.next, confirmTask          Provider.Confirm, ledger.Record
//	  report.WriteResults                   ledger.Results, row by row, into the result file
//	  report.WriteSummary, verdict          what is told, and the exit code
package batch
