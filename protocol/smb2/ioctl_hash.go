package smb2

import "gabion/protocol/dtyp"

// Values of SrvReadHash ([MS-SMB2] 2.2.31.2).
const (
	SrvHashTypePeerDist      uint32 = 0x00000001
	SrvHashVer1              uint32 = 0x00000001
	SrvHashVer2              uint32 = 0x00000002
	SrvHashRetrieveHashBased uint32 = 0x00000001
	SrvHashRetrieveFileBased uint32 = 0x00000002
)

// SrvReadHash is the input of FSCTL_SRV_READ_HASH ([MS-SMB2] 2.2.31.2).
type SrvReadHash struct {
	HashType          uint32
	HashVersion       uint32
	HashRetrievalType uint32
	Length            uint32
	Offset            uint64
}

// Decode reads the input buffer.
func (r *SrvReadHash) Decode(b []byte) error {
	if len(b) < 24 {
		return malformed("SRV_READ_HASH", "truncated")
	}
	*r = SrvReadHash{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), le.Uint32(b[12:]), le.Uint64(b[16:])}
	return nil
}

// AppendTo appends the input buffer.
func (r *SrvReadHash) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, r.HashType)
	b = le.AppendUint32(b, r.HashVersion)
	b = le.AppendUint32(b, r.HashRetrievalType)
	b = le.AppendUint32(b, r.Length)
	return le.AppendUint64(b, r.Offset)
}

// HashHeader begins every content information file ([MS-SMB2] 2.2.32.4.1).
// SourceFileName is UTF-16LE and aliases the source after Decode.
type HashHeader struct {
	HashType             uint32
	HashVersion          uint32
	SourceFileChangeTime dtyp.Filetime
	SourceFileSize       uint64
	HashBlobLength       uint32
	HashBlobOffset       uint32
	Dirty                uint16
	SourceFileName       []byte
}

const hashHeaderFixed = 36

// Decode reads the start of a content information file.
func (h *HashHeader) Decode(b []byte) error {
	const name = "HASH_HEADER"
	if len(b) < hashHeaderFixed {
		return malformed(name, "truncated")
	}
	n := int(le.Uint16(b[34:]))
	if n > len(b)-hashHeaderFixed {
		return malformed(name, "SourceFileNameLength")
	}
	*h = HashHeader{
		le.Uint32(b), le.Uint32(b[4:]), getFiletime(b[8:]), le.Uint64(b[16:]),
		le.Uint32(b[24:]), le.Uint32(b[28:]), le.Uint16(b[32:]), b[hashHeaderFixed : hashHeaderFixed+n],
	}
	return nil
}

// AppendTo appends the header.
func (h *HashHeader) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, h.HashType)
	b = le.AppendUint32(b, h.HashVersion)
	b = le.AppendUint64(b, uint64(h.SourceFileChangeTime))
	b = le.AppendUint64(b, h.SourceFileSize)
	b = le.AppendUint32(b, h.HashBlobLength)
	b = le.AppendUint32(b, h.HashBlobOffset)
	b = le.AppendUint16(b, h.Dirty)
	b = le.AppendUint16(b, uint16(len(h.SourceFileName)))
	return append(b, h.SourceFileName...)
}

// SrvReadHashResponse is the output of FSCTL_SRV_READ_HASH in either form
// ([MS-SMB2] 2.2.32.4.2, 2.2.32.4.3); FileBased, which the request decided, selects
// the one to read or write. Buffer aliases the source after Decode.
type SrvReadHashResponse struct {
	FileBased  bool
	Offset     uint64 // Offset or FileDataOffset
	DataLength uint64 // FileDataLength, file-based form only
	Buffer     []byte
}

// Decode reads the output buffer in the form that r.FileBased tells.
func (r *SrvReadHashResponse) Decode(b []byte) error {
	const name = "SRV_READ_HASH response"
	fixed := 16
	if r.FileBased {
		fixed = 24
	}
	if len(b) < fixed {
		return malformed(name, "truncated")
	}
	r.Offset, r.DataLength = le.Uint64(b), 0
	if r.FileBased {
		r.DataLength = le.Uint64(b[8:])
	}
	n := le.Uint32(b[fixed-8:])
	if uint64(n) > uint64(len(b)-fixed) {
		return malformed(name, "BufferLength")
	}
	r.Buffer = b[fixed : fixed+int(n)]
	return nil
}

// AppendTo appends the output buffer.
func (r *SrvReadHashResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint64(b, r.Offset)
	if r.FileBased {
		b = le.AppendUint64(b, r.DataLength)
	}
	b = le.AppendUint64(b, uint64(uint32(len(r.Buffer))))
	return append(b, r.Buffer...)
}
