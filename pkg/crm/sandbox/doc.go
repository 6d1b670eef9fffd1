// Package sandbox is a stand-in server of the APIs of both CRMs, for tests, for
// trying a sheet out and for learning: as faithful and as nasty as the vendors'
// references say the real ones are. Where the references do not know, Config
// decides.
//
// It keeps a world (users, records, shares that run out), checks keys, verbs,
// paths, content types and bodies, holds a rate limit, and is asynchronous where
// the vendor is: a change is accepted with a request Id, goes through pending
// codes, and takes effect only when its processing time is over.
//
// LeadSquared is served under /v2/: EntityAccess.svc/Share, /Revoke and
// /Status/Get?id=, UserManagement.svc/Users.Get and
// Authentication.svc/UserByAccessKey.Get. Any host name will do, unless Config.Host
// names one.
//
// LeadSquared's sales groups are there too, as UserGroup.svc/Retrieve,
// /RetrieveUsers, /AddUsers and /RemoveUsers. Memberships are among the Shares.
//
// Zoho CRM is served under /crm/v2/ to /crm/v8/: {module}/{record}/actions/share,
// users, org and __composite_requests; and its token endpoint is /oauth/v2/token. What
// reading takes beside is settings/modules, settings/data_sharing, coql (ids behind an id,
// counts, counts by owner) and users/{id}/actions/associated_groups. A
// write makes its record busy until its processing time is over. Config.Zoho
// decides what the versions of the vendor's documents do not agree on.
//
// A Server is an http.Handler. Listen serves it to other processes; RoundTripper
// runs it in memory, for tests of time under testing/synctest.
//
// # Control
//
// These paths are the sandbox's own. They need no keys, and neither count towards
// the rate limit nor appear among the arrivals.
//
//	GET    /_sandbox/state      {"shares":[...],"requests":[...],"open_on_one_target":0}
//	GET    /_sandbox/arrivals   every request that came, in order
//	POST   /_sandbox/faults     a Fault, or an array: {"op":"*","kind":"reset_after","times":1}
//	DELETE /_sandbox/faults     no faults from now on
//	POST   /_sandbox/users      a user, or an array: {"id":"...","email":"...","active":true,"role":"Sales_User"};
//	                            of Zoho role is the profile, and role_id the role
//	POST   /_sandbox/seed       an operation, or an array, by the names of a sheet's columns:
//	                            {"action":"revoke","object":"lead","record_id":"869196","context_id":"...","user":"..."}
//	POST   /_sandbox/records    a record of Zoho with its list, or an array:
//	                            {"module":"Leads","record_id":"1","owner":"3","grants":[{"kind":"user","id":"2","access":"read"}]}
//	                            a grant may have "kind" group, role or public, "related", and "through" a parent
//	POST   /_sandbox/many       many records of Zoho that nobody shares, their owners taking turns:
//	                            {"module":"Leads","first":"5000000000001000001","count":100000,"owners":["2","3"]}
//	POST   /_sandbox/modules    a module of Zoho, or an array: {"module":"Deals","share_type":"public","no_shares":false}
//	POST   /_sandbox/groups     a group of Zoho, or an array: {"id":"7","name":"Sales","users":["2"],"roles":["501"]}
//	POST   /_sandbox/vanish     records that are gone: {"module":"Leads","record_ids":["1"]}
//
// The state also has "zoho", with records, mails, credits and the counters of a good client.
// A change there is answered with 204, a mistake with 400 and its text.
package sandbox
