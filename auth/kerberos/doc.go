// Package kerberos accepts Kerberos tickets for a file server: it verifies what a
// client shows, tells who the client is according to the PAC in the ticket, and
// agrees on a session key.
//
//	token ─▶ Exchange.Step ─▶ AP-REQ ─▶ key of the key table ─▶ ticket ─▶ times
//	                                                              │
//	           AP-REP ◀─ subkey ◀─ PAC ◀─ replay cache ◀─ authenticator
//	                      │
//	                      └▶ Context: who, session key, MIC and Wrap tokens
//
// The cryptographic primitives are those of gokrb5; every decision is made here.
//
// # Which key
//
// All service names of one account share the account's keys, so the name in the
// ticket says little; a key is found by encryption type and version, preferring the
// principal the ticket names. The key table is read again when it changes, and old
// versions in it keep working until they are removed from it.
//
// # Replays
//
// An authenticator is accepted once. The memory of them lives as long as the process: a
// copy of an AP-REQ sent after a restart is accepted within the clock skew, but helps
// nobody, because each answer agrees on a fresh subkey that only the holder of
// the ticket's session key can read, and an SMB session is signed with it.
//
// # What a ticket gives
//
// SIDs, never privileges, and no SIDs that are ours to give: those of BUILTIN, of
// this server's own accounts and of the system are dropped (and named in
// Who.Dropped), whatever a domain controller says.
package kerberos
