// Package zoho is the provider and the finder of Zoho CRM: shares of single records with
// users.
//
// Zoho has no call that takes a record from one user. Revoking means looking who
// has the record and writing the list back without that user, so that one call can
// take access from people whom nobody asked about. The package is built around
// that:
//
//   - all operations on a record go in one call: one look, one write, and one
//     confirming look (see Provider.Confirm);
//   - no write is sent, the first time or again, but right after a look;
//   - what is to be written is decided by a pure function (merge.go) that writes
//     back everybody else exactly as they were shown, or refuses;
//   - after a write that did not go well the list is looked at again, and another pure
//     function (after.go) says what has come of each row, and which bystanders are given
//     back what they lost or are named.
//
// The loop that does so is in do.go: look, decide, write, read the answer.
//
// A Finder looks and lists, and can do nothing else: what it sends through takes reads
// only, and it holds nothing that writes. It shares with Provider the reading half of an
// account (reader.go).
//
// Zoho gives out no request ids. The ticket of an accepted operation is its key.
package zoho
