// Package dcerpc holds the connection-oriented DCE/RPC PDUs (C706 chapter 12,
// MS-RPCE 2.2.2) and the NDR transfer syntax (C706 chapter 14) that the named-pipe
// services speak. Its subpackages hold one interface each: srvsvc, wkssvc, lsarpc.
//
//	fragment = Header · body of its type · [auth padding · auth trailer · token]
//
// Integers are read in either byte order and written little-endian, as every Windows
// and Samba peer sends them; text is ASCII, floating point IEEE. Decoded structures keep sub-slices of their input
// where the field says so.
package dcerpc
