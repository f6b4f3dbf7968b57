// Package ntlm holds the messages of NT LAN Manager authentication and the
// computations of NTLMv2 (MS-NLMP): both sides' responses, key exchange, the
// message integrity code, and message signing and sealing.
//
// NTLMv1, LM and the 40- and 56-bit variants are not here: nobody who is to be
// trusted with a disk needs them.
//
//	NEGOTIATE ──▶   ◀── CHALLENGE   AUTHENTICATE ──▶
package ntlm
