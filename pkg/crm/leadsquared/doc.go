// Package leadsquared is the provider of the LeadSquared CRM: it shares leads and
// opportunities with users and takes those shares back, and it changes who is in a
// sales group.
//
// What shapes it, from the vendor's documentation and from the field:
//
//   - A change is asynchronous. A 200 with an Id means that the request is queued;
//     what became of it is behind the status call, whose code is documented for one
//     value only. Nothing else is ever called done.
//   - Application errors come as HTTP 500 with a JSON body, and as 200 or 403 too.
//     The body is read before the status; classify is the one place that decides.
//   - Nobody can see who has a share. A revoke whose answer was lost is sent again,
//     because revoking twice ends where revoking once does; a share is not, because
//     it may extend or duplicate what is there. Members of a sales group can be
//     looked up, and are, before anything is sent and before anything is sent again.
//
// A Finder sees which sales groups people are in, and can change nothing.
package leadsquared
