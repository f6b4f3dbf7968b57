// Package archive is the format of `gabion export`: a stream of checksummed frames that holds
// the files of a snapshot, whole or by their difference from an earlier one. It can be cut
// anywhere and continued.
//
//	stream  = part { part }            a later part continues where the one before was cut
//	part    = Begin { entry } End
//	entry   = Entry { data } { Stream { data } } EntryEnd
//	data    = Data | Zero
//
// All integers are little-endian. A frame is a header of 24 bytes and a payload of at most MaxPayload:
//
//	 0  magic    u32  "GBXF"
//	 4  type     u8
//	 5  version  u8   1
//	 6  reserved u16  0
//	 8  seq      u64  number of the frame in its part, from 0
//	16  length   u32  of the payload
//	20  check    u32  CRC32C of bytes 0 to 19 and the payload
//
// Payloads of Begin, Entry, Stream, End and Failure are JSON objects (types of those names); of
// Data an offset u64 and bytes; of Zero an offset u64 and a length u64; of EntryEnd nothing.
// What data says is of the unnamed stream first, then of each Stream in turn; offsets grow. What
// neither Data nor Zero names is a hole in a whole entry, and unchanged in a difference.
//
// A place in the stream is a Mark: how many entries are complete, how many streams of the next,
// and the offset in the one after. A part that continues says in Begin from which mark; it
// announces the entry there again. Entries come in an order that the two snapshots alone decide,
// so any part with the same id continues any other.
package archive
