// Package peer carries data between arrays: an array that is given another's offload
// token fetches what it stands for from the array that issued it.
//
// # Who is who
//
// Every array has a key pair, made at its first start and kept in its volume. The
// fingerprint, the SHA-256 of the public key, is the array's identity; its first 16 bytes are
// the odx.ArrayID in every token. Administrators carry the fingerprints across, once in each
// direction (`gabion peer add`), and both ends of a connection prove by TLS 1.3 that they have
// the key that belongs to theirs. Nobody else is asked: the certificates are signed
// by themselves and their names and dates say nothing.
//
//	B: OFFLOAD_WRITE, token of A ──▶ dial A ──▶ TLS, both fingerprints known ──▶ READ token, range
//	   target file ◀── holes and data, in order ◀── A: token verified, pin opened
//
// The wire format is package protocol/relay. A connection carries one request at a time
// and is kept for the next.
//
// The array that answers reads ahead of what it sends, a few pieces side by side, each into
// memory that is encrypted as it lies. The one that asks writes what comes past its page cache
// (store.Streamer), and its log writes while more arrives: neither stands still for a disk.
//
// # When it fails
//
// A connection that breaks is made anew and the request goes on from the last byte that
// arrived, for as long as the caller's context allows. What arrived before counts: the
// caller answers with a short transfer, and only a transfer of nothing is an error. An array
// that is not known as a peer makes a token invalid; one that does not answer makes it
// unreachable, which tells clients to copy by themselves.
package peer
