// Package auth answers two questions: who is asking (Acceptor, Users), and what
// may they do (Token, access check).
//
//	token of the client ─▶ Exchange.Step ─▶ Identity ─▶ Token ─▶ access check
//	                         │ NTLMv2: Users
//
// An Identity exists only as the result of a completed, verified exchange. It
// carries SIDs; privileges come from roles configured here and from nothing that
// a client sends.
//
// Local users. NTLM's challenge is answered with a hash of the password that is
// as good as the password itself, so the server has to keep that hash. It is
// kept encrypted under a key that lies in a file of mode 0600 beside the volume:
// a copy of the volume alone gives no hashes away, the data directory as a whole does.
package auth
