package fscc

import "gabion/protocol/dtyp"

// ReparseData is REPARSE_DATA_BUFFER or, for a tag that is not Microsoft's,
// REPARSE_GUID_DATA_BUFFER ([MS-FSCC] 2.1.2.2, 2.1.2.3).
type ReparseData struct {
	Tag  uint32
	GUID dtyp.GUID // for tags without the Microsoft bit
	Data []byte    // copied by Decode
}

const (
	reparseHeader     = 8
	reparseGUIDHeader = 24
	// MaxReparseData is MAXIMUM_REPARSE_DATA_BUFFER_SIZE.
	MaxReparseData = 16 << 10
)

// Microsoft reports whether the tag is owned by Microsoft, so that the buffer has no GUID.
func (x *ReparseData) Microsoft() bool { return x.Tag&reparseTagMicrosoft != 0 }

// Append appends the wire form.
func (x *ReparseData) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Tag)
	dst = le.AppendUint16(dst, uint16(len(x.Data)))
	dst = append(dst, 0, 0)
	if !x.Microsoft() {
		dst = append(dst, x.GUID[:]...)
	}
	return append(dst, x.Data...)
}

// Decode reads the wire form, which must have exactly the length it says
// ([MS-FSA] 2.1.5.10.37: else STATUS_IO_REPARSE_DATA_INVALID).
func (x *ReparseData) Decode(b []byte) error {
	if len(b) < reparseHeader || len(b) > MaxReparseData {
		return malformed("REPARSE_DATA_BUFFER")
	}
	x.Tag = le.Uint32(b)
	n, header := int(le.Uint16(b[4:])), reparseHeader
	if !x.Microsoft() {
		header = reparseGUIDHeader
	}
	if len(b) != header+n {
		return malformed("REPARSE_DATA_BUFFER ReparseDataLength")
	}
	if !x.Microsoft() {
		copy(x.GUID[:], b[reparseHeader:])
	}
	x.Data = append([]byte(nil), b[header:]...)
	return nil
}

// ReservedReparseTag reports whether a tag may not be set at all.
func ReservedReparseTag(tag uint32) bool { return tag <= ReparseTagReservedTwo }

// SymlinkData is the data of a symbolic link or a mount point ([MS-FSCC]
// 2.1.2.4, 2.1.2.5).
type SymlinkData struct {
	SubstituteName string
	PrintName      string
	// Relative is SYMLINK_FLAG_RELATIVE; a mount point has no flags.
	Relative bool
}

const symlinkFlagRelative = 1

// Reparse returns the buffer for the tag, which is ReparseTagSymlink or ReparseTagMountPoint.
func (x *SymlinkData) Reparse(tag uint32) ReparseData {
	sub, print := dtyp.EncodeUTF16(x.SubstituteName), dtyp.EncodeUTF16(x.PrintName)
	gap := 0
	if tag == ReparseTagMountPoint {
		gap = 2 // mount point names are null-terminated by custom
	}
	var b []byte
	b = le.AppendUint16(b, 0)
	b = le.AppendUint16(b, uint16(len(sub)))
	b = le.AppendUint16(b, uint16(len(sub)+gap))
	b = le.AppendUint16(b, uint16(len(print)))
	if tag == ReparseTagSymlink {
		flags := uint32(0)
		if x.Relative {
			flags = symlinkFlagRelative
		}
		b = le.AppendUint32(b, flags)
	}
	b = append(b, sub...)
	b = append(b, make([]byte, gap)...)
	b = append(b, print...)
	b = append(b, make([]byte, gap)...)
	return ReparseData{Tag: tag, Data: b}
}

// Decode reads the data of a reparse point with one of the two tags.
func (x *SymlinkData) Decode(r *ReparseData) (err error) {
	b, header := r.Data, 8
	if r.Tag == ReparseTagSymlink {
		header = 12
	} else if r.Tag != ReparseTagMountPoint {
		return malformed("symbolic link tag")
	}
	if len(b) < header {
		return malformed("symbolic link")
	}
	x.Relative = r.Tag == ReparseTagSymlink && le.Uint32(b[8:])&symlinkFlagRelative != 0
	names := b[header:]
	at := func(off, n uint16) (string, error) { return nameAt(names, int(off), uint32(n), "symbolic link name") }
	if x.SubstituteName, err = at(le.Uint16(b), le.Uint16(b[2:])); err != nil {
		return err
	}
	x.PrintName, err = at(le.Uint16(b[4:]), le.Uint16(b[6:]))
	return err
}
