package lsarpc

import (
	"encoding/binary"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// Handle is a policy's context handle; zero is closed.
type Handle struct {
	Attributes uint32
	UUID       dtyp.GUID
}

func readHandle(r *dcerpc.Reader) Handle { return Handle{r.Uint32(), r.GUID()} }

func writeHandle(w *dcerpc.Writer, h Handle) {
	w.Uint32(h.Attributes)
	w.GUID(h.UUID)
}

// readUnicode reads an RPC_UNICODE_STRING (MS-DTYP 2.3.10) whose characters
// follow at once.
func readUnicode(r *dcerpc.Reader) string {
	length, _, present := r.Uint16(), r.Uint16(), r.Pointer()
	if !present {
		return ""
	}
	return readUnits(r, length)
}

// readUnits reads the characters of an RPC_UNICODE_STRING of length bytes.
func readUnits(r *dcerpc.Reader, length uint16) string {
	max, offset, n := r.Uint32(), r.Uint32(), r.Uint32()
	if offset != 0 || n > max || n != uint32(length/2) {
		r.Fail("unicode string of %d bytes with %d characters", length, n)
		return ""
	}
	return r.Chars(int(n))
}

// writeUnicode writes an RPC_UNICODE_STRING whose MaximumLength is room bytes
// larger than its Length: some of LSA's names have room for a terminator.
func writeUnicode(w *dcerpc.Writer, s string, room int) {
	u := dtyp.EncodeUTF16(s)
	w.Align(4)
	w.Uint16(uint16(len(u)))
	w.Uint16(uint16(len(u) + room))
	if len(u)+room == 0 {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(len(u)+room) / 2)
		w.Uint32(0)
		w.Uint32(uint32(len(u) / 2))
		w.Raw(u)
	})
}

// writeSID writes a pointer to an RPC_SID (MS-DTYP 2.4.2.3).
func writeSID(w *dcerpc.Writer, s dtyp.SID) {
	if s.IsZero() {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(s.Count()))
		w.Raw(s.Append(nil))
	})
}

// readSID reads an RPC_SID.
func readSID(r *dcerpc.Reader) dtyp.SID {
	n := r.Uint32()
	if n > dtyp.MaxSubAuthorities {
		r.Fail("SID of %d sub-authorities", n)
		return dtyp.SID{}
	}
	b := append([]byte(nil), r.Bytes(8)...) // revision, count, authority: octets
	for range n {
		b = binary.LittleEndian.AppendUint32(b, r.Uint32())
	}
	if r.Err() != nil {
		return dtyp.SID{}
	}
	s, rest, err := dtyp.DecodeSID(b)
	if err != nil || len(rest) != 0 {
		r.Fail("SID")
	}
	return s
}

// writeArray writes a pointer to a conformant array, null if it is empty.
func writeArray(w *dcerpc.Writer, n int, element func(w *dcerpc.Writer, i int)) {
	if n == 0 {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(n))
		for i := range n {
			element(w, i)
		}
	})
}
