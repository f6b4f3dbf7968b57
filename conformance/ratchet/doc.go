// Package ratchet holds the server to what a request may cost, in figures that no other work
// on the machine changes: allocations and allocated bytes, through the whole path from the socket
// over the store and back. A change that makes a request dearer fails here and either mends
// that or raises the bound with a reason; one that makes it cheaper lowers the bound.
package ratchet
