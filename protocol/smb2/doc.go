// Package smb2 is section 2.2 of MS-SMB2: every message of the SMB 2 and 3
// dialects as bytes and as structures, in both directions, for the server and
// for the protocol client that tests it.
//
// # Messages
//
// A message is a 64-byte Header and a body. Offsets inside a body count from the
// first byte of the header, so Decode takes the whole message, header included:
//
//	h, err := smb2.ParseHeader(msg)
//	var r smb2.CreateRequest
//	err = r.Decode(msg)
//
// AppendTo appends the body only, and assumes that the 64 bytes before it are, or
// will be, the header:
//
//	b = smb2.AppendHeader(b, &fields)
//	b = resp.AppendTo(b)
//
// In a compound each element is decoded and encoded on its own: Split cuts a
// received chain, PadCompound closes an element of a chain that is being built.
//
// # Ownership
//
// Every []byte in a decoded structure is a sub-slice of the message it was decoded
// from, never a copy: a WRITE's payload, a READ's payload, names, security
// buffers, context lists. Whoever keeps one beyond the life of the receive buffer
// copies it. Everything else is copied by value. Decode overwrites every field, so
// a structure may be reused; neither Decode nor AppendTo allocates, except that
// AppendTo grows its buffer and that Dialects and similar short lists reuse the
// capacity they had.
//
// Names are left as the UTF-16LE bytes of the wire: dtyp converts them, and a test
// may send an odd number of them.
//
// # Strictness
//
// Decode checks StructureSize, that fixed parts are whole, and that every
// offset/length pair with a non-zero length lies behind the fixed part and inside
// the message. It does not judge values: flags, levels and classes that do not
// exist are for the handler, which knows the status the specification wants. The
// one byte of Buffer that odd StructureSize values count is not demanded. A
// failure is a *FormatError, for which the server answers
// STATUS_INVALID_PARAMETER ([MS-SMB2] 3.3.5.2.6).
//
// # What else is here
//
// The transform header of encrypted messages, the compression transform header,
// the detection of SMB1 multi-protocol negotiates, create and negotiate contexts,
// error contexts, and those FSCTL buffers that MS-SMB2 itself defines. Buffers of
// MS-FSCC and MS-RSVD live in their own packages, with the exception of the
// SVHDX_OPEN_DEVICE create context, which travels in CREATE.
package smb2
