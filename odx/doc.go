// Package odx is the room of offloaded copies: the tokens by which a client tells
// one of the array's files to take over what another holds, without the bytes
// passing through the client.
//
// # Tokens
//
// A token is 512 bytes that FSCTL_OFFLOAD_READ hands out and FSCTL_OFFLOAD_WRITE
// takes. It stands for one range of one stream as it was when it was handed out: a
// pin of the store (store.Pins), which outlives the source's handle, its contents and the
// process. What is pinned is found by a 128-bit random number in the token, and the
// token is authenticated with a key that only this array has:
//
//	OFFLOAD_READ ──▶ Issue ──▶ pin ── used by Open, any number of times ──▶ gone: INVALID_TOKEN
//	                                  │ each use renews its time        (time, number, space, Revoke)
//
// Whoever has the 512 bytes has the data: a token is a bearer capability. So neither
// the token nor its number is ever logged, listed or stored. The pin's own name is a hash of
// the number; its first characters are what administrators see and revoke tokens by.
//
// # Zeros
//
// The zero token is the specification's constant ([MS-FSCC] 2.1.11). It stands for as many
// zeros as are asked for, never dies, and clients may make it up themselves. Writing it
// makes the whole target valid: behind the valid data there are zeros anyway, and a disk that is
// zeroed in thousands of pieces waits for the log once.
package odx
