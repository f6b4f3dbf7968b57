// Package dcerpc holds the connection-oriented DCE/RPC PDUs (C706 chapter 12,
// MS-RPCE 2.2.2) and the NDR transfer syntax (C706 chapter 14) that the named-pipe
// services speak. Its subpackages hold one interface each: srvsvc, wkssvc, lsarpc.
//
//	fragment = Header · body of its type · [auth padding · auth trailer · token]
//
// Only little-endian, ASCII, IEEE data representation is taken, as every Windows
// and Samba peer sends it. Decoded structures keep sub-slices of their input
// where the field says so.
package dcerpc
