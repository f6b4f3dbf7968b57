// Package odx is the room of offloaded copies: tokens, server-side copy and
// copy between two arrays. It is empty so far: FSCTL_OFFLOAD_READ and
// FSCTL_OFFLOAD_WRITE are refused with STATUS_NOT_SUPPORTED, and hosts fall back
// to ordinary copies.
package odx
