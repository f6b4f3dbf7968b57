package vhdx

import (
	"strings"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// A VHD set is a small .vhds file that names the VHDX file with the disk's present
// contents, which lies in the same folder. Its layout is not published; this is what
// files made by Windows show: a signature, two headers of which the valid one with
// the larger sequence counts, and the name as UTF-16.
const (
	setSize      = 0x41000
	setData      = 0x40000
	setDataLimit = setSize - setData
)

var setHeaders = [2]int64{0x10000, 0x20000}

type setHeader struct {
	sequence   uint64
	off, count uint32
}

func decodeSetHeader(b []byte) (setHeader, bool) {
	if len(b) < headerSize || string(b[:4]) != "shdr" || le.Uint32(b[20:]) != checksum(b[:headerSize], 20) {
		return setHeader{}, false
	}
	return setHeader{le.Uint64(b[8:]), le.Uint32(b[28:]), le.Uint32(b[32:])}, true
}

func (h *setHeader) encode() []byte {
	b := make([]byte, headerSize)
	copy(b, "shdr")
	le.PutUint32(b[4:], 0xFFFFE000)
	le.PutUint64(b[8:], h.sequence)
	le.PutUint32(b[16:], 1)
	le.PutUint32(b[24:], 7)
	le.PutUint32(b[28:], h.off)
	le.PutUint32(b[32:], h.count)
	le.PutUint32(b[20:], checksum(b, 20))
	return b
}

// ReadSet returns the name of a set's active file: one path component.
func ReadSet(s store.Stream) (string, error) {
	b := make([]byte, setSize)
	n, _ := s.ReadAt(b, 0)
	if n < len("vhdsetv1") || string(b[:8]) != "vhdsetv1" {
		return "", ErrNotVHDX
	}
	return decodeSet(b[:n])
}

func decodeSet(b []byte) (string, error) {
	var newest setHeader
	found := false
	for _, off := range setHeaders {
		if int64(len(b)) < off {
			break
		}
		if h, ok := decodeSetHeader(b[off:]); ok && (!found || h.sequence > newest.sequence) {
			newest, found = h, true
		}
	}
	if !found {
		return "", corrupt("VHD set has no valid header")
	}
	if newest.count < 2 || newest.count%2 != 0 || newest.count > setDataLimit || uint64(newest.off)+uint64(newest.count) > uint64(len(b)) {
		return "", corrupt("VHD set's name at %d, length %d", newest.off, newest.count)
	}
	name, _, _ := strings.Cut(dtyp.DecodeUTF16(b[newest.off:newest.off+newest.count]), "\x00")
	if name == "" || name == "." || name == ".." || strings.ContainsAny(name, `\/:`) {
		return "", corrupt("VHD set names %q", name)
	}
	return name, nil
}

// WriteSet makes a VHD set of an empty stream in one atomic write.
func WriteSet(s store.Stream, active string, t store.Touch) (store.Pos, error) {
	name := append(dtyp.EncodeUTF16(active), 0, 0)
	if len(name) > setDataLimit {
		return 0, store.ErrName
	}
	b := make([]byte, setSize)
	copy(b, "vhdsetv1")
	copy(b[8:], dtyp.EncodeUTF16("Gabion"))
	for i, off := range setHeaders {
		h := setHeader{uint64(i), setData, uint32(len(name))}
		copy(b[off:], h.encode())
	}
	copy(b[setData:], name)
	return s.WriteAt(b, 0, t)
}
