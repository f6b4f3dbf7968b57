// Package odx holds the server to its word on offloaded transfers ([MS-FSA] 2.1.5.10.20
// and 2.1.5.10.21): every error in the specification's order, tokens that must be
// honoured and tokens that must not, one instant per token whatever happens to the source, and
// copies as Windows' engine makes them, with its chunks and its way to fall back.
package odx
