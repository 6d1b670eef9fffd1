// Package transport is the one HTTP client of the CRM providers. Every attempt
// goes the same way: a slot at the gate, the caller's last word, authorisation,
// the request, a capped read of the reply, the vendor's reading of it, a line in
// the log.
//
// It repeats only what changes nothing, and what demonstrably never left this
// machine. Repeating a change is the business of the provider, which knows what
// is safe. A Reader is a client for those who may change nothing.
package transport
