// Package pac holds the privilege attribute certificate ([MS-PAC]), which an
// Active Directory puts into every ticket: who the client is and which groups it
// belongs to, signed with the key of the service that the ticket is for.
//
//	PACTYPE ─▶ buffers ┬ LogonInfo       account, domain, groups
//	                   ├ ClientInfo      name and time of the ticket around it
//	                   ├ UPNInfo         user principal name, account name, SID
//	                   ├ Delegation      the services that act for the client
//	                   ├ server signature   made with the service's key
//	                   └ KDC signature      made with a key only KDCs have
//
// Decoding checks bounds only. Nothing in a PAC may be believed before its server
// signature was verified over Signed.
package pac
