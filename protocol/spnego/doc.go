// Package spnego holds the tokens of SPNEGO (RFC 4178, MS-SPNG 2.2): which
// mechanisms there are, which one it is, and the mechanism's own tokens inside.
//
//	client                          server
//	          ◀── NegTokenInit2 (mechanisms; in the NEGOTIATE response)
//	NegTokenInit (mechanisms, first token) ──▶
//	          ◀── NegTokenResp (state, mechanism, token)
//	NegTokenResp (token, mechListMIC) ──▶ …
package spnego
