package krb5

import (
	"encoding/asn1"
	"errors"
	"fmt"
	"math"
	"time"

	"golang.org/x/crypto/cryptobyte"
	asn1tag "golang.org/x/crypto/cryptobyte/asn1"
)

// ErrMalformed is wrapped by every decoding error of this package.
var ErrMalformed = errors.New("malformed Kerberos message")

func malformed(what string) error { return fmt.Errorf("%w: %s", ErrMalformed, what) }

func appTag(n uint8) asn1tag.Tag { return asn1tag.Tag(n|0x40) | 0x20 }
func tag(n uint8) asn1tag.Tag    { return asn1tag.Tag(n).ContextSpecific().Constructed() }

// fields reads the explicitly tagged fields of a SEQUENCE in their order. It
// remembers whether anything was wrong, so a decoder asks once at its end.
type fields struct {
	s   cryptobyte.String
	bad bool
}

// openApp opens the SEQUENCE inside [APPLICATION n]. What follows it is ignored:
// decrypted messages may be padded.
func openApp(b []byte, n uint8) fields {
	s := cryptobyte.String(b)
	var app cryptobyte.String
	if !s.ReadASN1(&app, appTag(n)) {
		return fields{bad: true}
	}
	return openSequence(app)
}

func openSequence(s cryptobyte.String) fields {
	var f fields
	f.bad = !s.ReadASN1(&f.s, asn1tag.SEQUENCE)
	return f
}

func (f *fields) err(what string) error {
	if f.bad {
		return malformed(what)
	}
	return nil
}

// field reads field n, which must be there.
func (f *fields) field(n uint8) cryptobyte.String {
	var v cryptobyte.String
	if f.bad || !f.s.ReadASN1(&v, tag(n)) {
		f.bad = true
	}
	return v
}

// optional reads field n if it is there.
func (f *fields) optional(n uint8) (v cryptobyte.String, there bool) {
	if f.bad || !f.s.ReadOptionalASN1(&v, &there, tag(n)) {
		f.bad = true
	}
	return v, there && !f.bad
}

func (f *fields) note(ok bool) { f.bad = f.bad || !ok }

// integer reads an INTEGER; numbers that Kerberos calls unsigned come as
// negative ones from some implementations.
func (f *fields) integer(v cryptobyte.String) int64 {
	var n int64
	f.note(!f.bad && v.ReadASN1Integer(&n) && n >= math.MinInt32 && n <= math.MaxUint32)
	return n
}

func (f *fields) octets(v cryptobyte.String) []byte {
	var b cryptobyte.String
	f.note(!f.bad && v.ReadASN1(&b, asn1tag.OCTET_STRING))
	return append([]byte(nil), b...)
}

func (f *fields) text(v cryptobyte.String) string {
	var b cryptobyte.String
	f.note(!f.bad && v.ReadASN1(&b, asn1tag.GeneralString))
	return string(b)
}

func (f *fields) time(v cryptobyte.String) time.Time {
	var t time.Time
	f.note(!f.bad && v.ReadASN1GeneralizedTime(&t))
	return t.UTC()
}

// flags reads KerberosFlags: at least 32 bits, the first is the highest.
func (f *fields) flags(v cryptobyte.String) uint32 {
	var bits asn1.BitString
	f.note(!f.bad && v.ReadASN1BitString(&bits))
	var out uint32
	for i := range 4 {
		out <<= 8
		if i < len(bits.Bytes) {
			out |= uint32(bits.Bytes[i])
		}
	}
	return out
}

func (f *fields) principal(v cryptobyte.String) (p Principal) {
	in := openSequence(v)
	p.Type = int32(in.integer(in.field(0)))
	list := in.field(1)
	var names cryptobyte.String
	in.note(!in.bad && list.ReadASN1(&names, asn1tag.SEQUENCE))
	for !in.bad && !names.Empty() {
		var name cryptobyte.String
		in.note(names.ReadASN1(&name, asn1tag.GeneralString) && len(p.Name) < maxNames)
		p.Name = append(p.Name, string(name))
	}
	f.note(!in.bad)
	return p
}

func (f *fields) key(v cryptobyte.String) (k Key) {
	in := openSequence(v)
	k.EType = int32(in.integer(in.field(0)))
	k.Value = in.octets(in.field(1))
	f.note(!in.bad)
	return k
}

func (f *fields) encrypted(v cryptobyte.String) (e EncryptedData) {
	in := openSequence(v)
	e.EType = int32(in.integer(in.field(0)))
	if kvno, there := in.optional(1); there {
		e.KVNO, e.HasKVNO = uint32(in.integer(kvno)), true
	}
	e.Cipher = in.octets(in.field(2))
	f.note(!in.bad)
	return e
}

// authData reads AuthorizationData.
func (f *fields) authData(v cryptobyte.String) []AuthData {
	var list cryptobyte.String
	f.note(!f.bad && v.ReadASN1(&list, asn1tag.SEQUENCE))
	var out []AuthData
	for !f.bad && !list.Empty() {
		var element cryptobyte.String
		f.note(list.ReadASN1Element(&element, asn1tag.SEQUENCE))
		in := openSequence(element)
		out = append(out, AuthData{Type: int32(in.integer(in.field(0))), Data: in.octets(in.field(1))})
		f.note(!in.bad)
	}
	return out
}

// builder writes what fields reads.
type builder struct{ *cryptobyte.Builder }

func encodeApp(n uint8, content func(builder)) []byte {
	var w cryptobyte.Builder
	w.AddASN1(appTag(n), func(w *cryptobyte.Builder) { sequence(w, content) })
	return w.BytesOrPanic()
}

func sequence(w *cryptobyte.Builder, content func(builder)) {
	w.AddASN1(asn1tag.SEQUENCE, func(w *cryptobyte.Builder) { content(builder{w}) })
}

func (w builder) field(n uint8, content func(*cryptobyte.Builder)) { w.AddASN1(tag(n), content) }

func (w builder) integer(n uint8, v int64) {
	w.field(n, func(w *cryptobyte.Builder) { w.AddASN1Int64(v) })
}

func (w builder) octets(n uint8, b []byte) {
	w.field(n, func(w *cryptobyte.Builder) { w.AddASN1OctetString(b) })
}

func (w builder) text(n uint8, s string) {
	w.field(n, func(w *cryptobyte.Builder) { addText(w, s) })
}

func addText(w *cryptobyte.Builder, s string) {
	w.AddASN1(asn1tag.GeneralString, func(w *cryptobyte.Builder) { w.AddBytes([]byte(s)) })
}

func (w builder) time(n uint8, t time.Time) {
	w.field(n, func(w *cryptobyte.Builder) { w.AddASN1GeneralizedTime(t.UTC()) })
}

func (w builder) flags(n uint8, v uint32) {
	w.field(n, func(w *cryptobyte.Builder) {
		w.AddASN1BitString([]byte{byte(v >> 24), byte(v >> 16), byte(v >> 8), byte(v)})
	})
}

func (w builder) principal(n uint8, p Principal) {
	w.field(n, func(w *cryptobyte.Builder) {
		sequence(w, func(w builder) {
			w.integer(0, int64(p.Type))
			w.field(1, func(w *cryptobyte.Builder) {
				w.AddASN1(asn1tag.SEQUENCE, func(w *cryptobyte.Builder) {
					for _, s := range p.Name {
						addText(w, s)
					}
				})
			})
		})
	})
}

func (w builder) key(n uint8, k Key) {
	w.field(n, func(w *cryptobyte.Builder) {
		sequence(w, func(w builder) {
			w.integer(0, int64(k.EType))
			w.octets(1, k.Value)
		})
	})
}

func (w builder) encrypted(n uint8, e EncryptedData) {
	w.field(n, func(w *cryptobyte.Builder) {
		sequence(w, func(w builder) {
			w.integer(0, int64(e.EType))
			if e.HasKVNO {
				w.integer(1, int64(e.KVNO))
			}
			w.octets(2, e.Cipher)
		})
	})
}

func (w builder) authData(n uint8, list []AuthData) {
	w.field(n, func(w *cryptobyte.Builder) { addAuthData(w, list) })
}

func addAuthData(w *cryptobyte.Builder, list []AuthData) {
	w.AddASN1(asn1tag.SEQUENCE, func(w *cryptobyte.Builder) {
		for _, a := range list {
			sequence(w, func(w builder) {
				w.integer(0, int64(a.Type))
				w.octets(1, a.Data)
			})
		}
	})
}
