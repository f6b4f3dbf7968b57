// Package krb5 holds the messages by which a client shows a Kerberos ticket to a
// service (RFC 4120 5, [MS-KILE] 2.2), their GSS-API frame (RFC 4121, RFC 1964)
// and the key table file. There is no cryptography here: what is encrypted is
// handed on as bytes.
//
//	client                                    service
//	APReq { Ticket, Authenticator }  ──▶
//	                                 ◀──  APRep, or Error
//
//	Ticket        encrypted with the service's key      ─▶ EncTicketPart
//	Authenticator encrypted with the ticket's session key
//	APRep         encrypted with the ticket's session key ─▶ EncAPRepPart
package krb5
