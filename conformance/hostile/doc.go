// Package hostile is the client nobody wants: malformed frames, messages out of
// order, lies about lengths, floods, before and after authentication. Each case is a
// row of Cases and runs against the server at an address; Gabion's gate runs them
// all, and so can anybody against any server.
//
// A case passes when the server did what the specification says, or, where it says
// nothing, anything but hang, crash or keep what it was given. After each case the
// runner logs in, writes, reads back and deletes a file: whatever was done to one
// connection, other clients must not notice.
//
// Samba 4.17, the reference, differs in seven rows: it waits on HTTP and TLS for the
// rest of the packet they seem to announce, takes two contexts of one type, answers
// encrypted messages whose inner header contradicts the outer one, and keeps any number of
// unfinished authentications.
package hostile
