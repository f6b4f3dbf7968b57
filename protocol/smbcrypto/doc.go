// Package smbcrypto is the cryptography of SMB 2 and 3 messages: key derivation,
// preauthentication integrity, signing and encryption ([MS-SMB2] 3.1.4.1 to 3.1.4.3).
// Primitives the standard library lacks, AES-CMAC (RFC 4493) and AES-CCM (RFC 3610),
// are here too, held to the test vectors of their documents.
//
// # Keys
//
// Derive turns the key of an authentication into the keys of a session: one to sign,
// one for the layers above, one for each direction to encrypt. Dialects before 3.0
// sign with the session key itself.
//
// # Signing
//
// A Signer signs and verifies one message of a compound at a time, padding included,
// in place: the signature goes into the header. Signing keys belong to a channel.
//
// # Encryption
//
// A Sealer holds the key of one direction. A frame on its way is
//
//	| transform header, 52 bytes | message … | 16 bytes of spare capacity |
//
// in one buffer: Seal encrypts in place and fills the header, Open verifies and
// decrypts in place. With the spare capacity nothing is copied or allocated; GCM
// without it copies. Encryption keys belong to a session: its channels share the
// Sealer, whose nonces are drawn from one counter and never repeat.
//
// # Concurrency and allocation
//
// Signer and Sealer are immutable but for the nonce counter, and safe for concurrent
// use on different messages. Working memory that must not live on the stack is a
// Scratch, of which every goroutine that signs or seals owns one. With AES-CMAC,
// AES-GMAC and AES-GCM nothing is allocated. HMAC-SHA256, of the 2.x dialects, and
// CCM allocate a little for each message.
package smbcrypto
