// Package rsvd is the wire format of the Remote Shared Virtual Disk protocol
// ([MS-RSVD]), versions 1 and 2: what travels in FSCTL_SVHDX_SYNC_TUNNEL_REQUEST,
// FSCTL_SVHDX_ASYNC_TUNNEL_REQUEST and FSCTL_QUERY_SHARED_VIRTUAL_DISK_SUPPORT, and
// in the extended attribute that opens a snapshot. The create contexts that open a
// shared disk are in package smb2.
//
// A tunnel message is a TunnelHeader and a payload; each payload is a struct with
// Decode and AppendTo, both without the header. Structures are little-endian and
// packed. What SCSI puts into them is big-endian and is not looked at here.
//
// Decode returns ErrShort for a message that is too small for what it says it
// holds, and ErrMalformed for contents that cannot be. It copies what it keeps,
// except SCSIRequest.Data and SCSIResponse.Data, which are parts of the input.
package rsvd
