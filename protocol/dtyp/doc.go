// Package dtyp holds the data types of MS-DTYP that more than one protocol
// uses: FILETIME, GUID, UTF-16 strings, SIDs, access masks, access control
// lists and security descriptors. Bytes in, structures out; no policy (the
// access check lives in auth).
package dtyp
