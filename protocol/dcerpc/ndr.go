package dcerpc

import (
	"encoding/binary"
	"slices"
	"strings"

	"gabion/protocol/dtyp"
)

// Reader decodes NDR (C706 14.3). It keeps the first error; after one every
// value is zero, so a decoder checks Err once at its end. Alignment is relative to
// the start of the reader's input.
type Reader struct {
	b     []byte
	at    int
	order binary.ByteOrder
	err   error
}

// NewReader reads little-endian b, which the values returned by Bytes and Rest are
// parts of.
func NewReader(b []byte) *Reader { return &Reader{b: b, order: binary.LittleEndian} }

// Stub is a call's parameters in NDR and the order of their bytes, which the
// sender chooses (C706 14.2.5).
type Stub struct {
	Data      []byte
	BigEndian bool
}

// Reader reads the stub.
func (s Stub) Reader() *Reader {
	r := NewReader(s.Data)
	if s.BigEndian {
		r.order = binary.BigEndian
	}
	return r
}

// Err is the first error.
func (r *Reader) Err() error { return r.err }

// Fail records err unless there is one already.
func (r *Reader) Fail(format string, args ...any) {
	if r.err == nil {
		r.err = malformed(format, args...)
	}
}

// Bytes takes the next n bytes.
func (r *Reader) Bytes(n int) []byte {
	if r.err != nil {
		return nil
	}
	if n < 0 || n > len(r.b)-r.at {
		r.Fail("%d bytes wanted at %d of %d", n, r.at, len(r.b))
		return nil
	}
	p := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return p
}

// Rest takes all that is left.
func (r *Reader) Rest() []byte { return r.Bytes(len(r.b) - r.at) }

// Left is how many bytes are left.
func (r *Reader) Left() int { return len(r.b) - r.at }

// Skip passes over n bytes.
func (r *Reader) Skip(n int) { r.Bytes(n) }

// Align moves to the next multiple of n.
func (r *Reader) Align(n int) { r.Skip((n - r.at%n) % n) }

// Uint8 takes one octet.
func (r *Reader) Uint8() uint8 {
	if p := r.Bytes(1); p != nil {
		return p[0]
	}
	return 0
}

// Uint16 takes an aligned 16-bit integer.
func (r *Reader) Uint16() uint16 {
	r.Align(2)
	if p := r.Bytes(2); p != nil {
		return r.order.Uint16(p)
	}
	return 0
}

// Uint32 takes an aligned 32-bit integer.
func (r *Reader) Uint32() uint32 {
	r.Align(4)
	if p := r.Bytes(4); p != nil {
		return r.order.Uint32(p)
	}
	return 0
}

// Uint64 takes an aligned 64-bit integer (hyper).
func (r *Reader) Uint64() uint64 {
	r.Align(8)
	if p := r.Bytes(8); p != nil {
		return r.order.Uint64(p)
	}
	return 0
}

// GUID takes a UUID, aligned to 4.
func (r *Reader) GUID() (g dtyp.GUID) {
	r.Align(4)
	copy(g[:], r.Bytes(16))
	if r.order == binary.BigEndian { // its first three members are integers
		slices.Reverse(g[:4])
		slices.Reverse(g[4:6])
		slices.Reverse(g[6:8])
	}
	return g
}

func (r *Reader) syntax() Syntax { return Syntax{r.GUID(), r.Uint32()} }

// Pointer takes a unique or full pointer's referent id and reports whether it points.
func (r *Reader) Pointer() bool { return r.Uint32() != 0 }

// Count takes an array's maximum count and checks that as many elements of at
// least size bytes can follow.
func (r *Reader) Count(size int) int {
	n := r.Uint32()
	if r.err == nil && int64(n)*int64(size) > int64(r.Left()) {
		r.Fail("array of %d elements in %d bytes", n, r.Left())
		return 0
	}
	return int(n)
}

// String takes a conformant varying string of 16-bit characters, without its
// terminator if there is one.
func (r *Reader) String() string {
	max, offset, n := r.Uint32(), r.Uint32(), r.Uint32()
	if r.err != nil {
		return ""
	}
	if offset != 0 || n > max {
		r.Fail("string of %d at %d in %d", n, offset, max)
		return ""
	}
	if int64(n)*2 > int64(r.Left()) {
		r.Fail("string of %d characters in %d bytes", n, r.Left())
		return ""
	}
	return strings.TrimSuffix(r.Chars(int(n)), "\x00")
}

// Chars takes n 16-bit characters.
func (r *Reader) Chars(n int) string {
	p := r.Bytes(n * 2)
	if r.order == binary.BigEndian {
		p = append([]byte(nil), p...)
		for i := 0; i < len(p); i += 2 {
			p[i], p[i+1] = p[i+1], p[i]
		}
	}
	return dtyp.DecodeUTF16(p)
}

// OptString takes a unique pointer to a string that follows at once.
func (r *Reader) OptString() (string, bool) {
	if !r.Pointer() {
		return "", false
	}
	return r.String(), true
}

// Writer encodes NDR. Pointees are written after the structure that holds their
// pointers: Defer collects them and Flush writes them in order.
type Writer struct {
	b        []byte
	referent uint32
	deferred []func(*Writer)
}

// Bytes is what was written; deferred pointees are flushed first.
func (w *Writer) Bytes() []byte {
	w.Flush()
	return w.b
}

// Len is how much was written so far.
func (w *Writer) Len() int { return len(w.b) }

// Raw appends p as it is.
func (w *Writer) Raw(p []byte) { w.b = append(w.b, p...) }

// Align pads to a multiple of n.
func (w *Writer) Align(n int) {
	for len(w.b)%n != 0 {
		w.b = append(w.b, 0)
	}
}

// Uint8 appends an octet.
func (w *Writer) Uint8(v uint8) { w.b = append(w.b, v) }

// Uint16 appends an aligned 16-bit integer.
func (w *Writer) Uint16(v uint16) {
	w.Align(2)
	w.b = binary.LittleEndian.AppendUint16(w.b, v)
}

// Uint32 appends an aligned 32-bit integer.
func (w *Writer) Uint32(v uint32) {
	w.Align(4)
	w.b = binary.LittleEndian.AppendUint32(w.b, v)
}

// Uint64 appends an aligned 64-bit integer.
func (w *Writer) Uint64(v uint64) {
	w.Align(8)
	w.b = binary.LittleEndian.AppendUint64(w.b, v)
}

// GUID appends a UUID, aligned to 4.
func (w *Writer) GUID(g dtyp.GUID) {
	w.Align(4)
	w.b = append(w.b, g[:]...)
}

// Pointer appends a referent id and defers its pointee, or a null pointer for nil.
func (w *Writer) Pointer(pointee func(*Writer)) {
	if pointee == nil {
		w.Uint32(0)
		return
	}
	w.referent += 4
	w.Uint32(0x00020000 + w.referent)
	w.deferred = append(w.deferred, pointee)
}

// Flush writes deferred pointees, and theirs, depth first as NDR orders them.
func (w *Writer) Flush() {
	for len(w.deferred) > 0 {
		todo := w.deferred
		w.deferred = nil
		for _, f := range todo {
			f(w)
			w.Flush()
		}
	}
}

// String appends a conformant varying string of 16-bit characters with terminator.
func (w *Writer) String(s string) {
	u := dtyp.EncodeUTF16(s)
	n := uint32(len(u)/2 + 1)
	w.Uint32(n)
	w.Uint32(0)
	w.Uint32(n)
	w.Raw(u)
	w.Raw([]byte{0, 0})
}

// StringPointer appends a unique pointer to a string; its pointee is deferred.
func (w *Writer) StringPointer(s string) {
	w.Pointer(func(w *Writer) { w.String(s) })
}
