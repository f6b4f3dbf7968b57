package spnego

import (
	"encoding/asn1"
	"errors"

	"golang.org/x/crypto/cryptobyte"
	asn1tag "golang.org/x/crypto/cryptobyte/asn1"
)

// Mechanism object identifiers (MS-SPNG 1.9).
var (
	OID         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 2}
	Kerberos    = asn1.ObjectIdentifier{1, 2, 840, 113554, 1, 2, 2}
	MSKerberos  = asn1.ObjectIdentifier{1, 2, 840, 48018, 1, 2, 2}
	NTLMSSP     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 10}
	NegoEx      = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 2, 30}
	maxMechs    = 32
	ErrNotToken = errors.New("not a SPNEGO token")
)

// State is negState (RFC 4178 4.2.2).
type State uint8

const (
	AcceptCompleted  State = 0
	AcceptIncomplete State = 1
	Reject           State = 2
	RequestMIC       State = 3
	NoState          State = 255 // the field is absent
)

// Init is a NegTokenInit or NegTokenInit2. Byte slices are parts of the input
// when decoded.
type Init struct {
	Mechs []asn1.ObjectIdentifier
	// MechList is the DER encoding of Mechs, which mechListMIC covers.
	MechList []byte
	Token    []byte
	Hint     string // negHints.hintName, NegTokenInit2 only
	MIC      []byte
}

// Resp is a NegTokenResp.
type Resp struct {
	State State
	Mech  asn1.ObjectIdentifier // nil: absent
	Token []byte
	MIC   []byte
}

var (
	tagApp0 = asn1tag.Tag(0).Constructed() | 0x40
	tag0    = asn1tag.Tag(0).ContextSpecific().Constructed()
	tag1    = asn1tag.Tag(1).ContextSpecific().Constructed()
	tag2    = asn1tag.Tag(2).ContextSpecific().Constructed()
	tag3    = asn1tag.Tag(3).ContextSpecific().Constructed()
	tag4    = asn1tag.Tag(4).ContextSpecific().Constructed()
)

// DecodeInit reads a client's first token.
func DecodeInit(b []byte) (Init, error) {
	s := cryptobyte.String(b)
	var app, init, body cryptobyte.String
	var oid asn1.ObjectIdentifier
	var v Init
	if !s.ReadASN1(&app, tagApp0) || !app.ReadASN1ObjectIdentifier(&oid) || !oid.Equal(OID) ||
		!app.ReadASN1(&init, tag0) || !init.ReadASN1(&body, asn1tag.SEQUENCE) {
		return v, ErrNotToken
	}
	if err := v.mechTypes(&body); err != nil {
		return v, err
	}
	var flags cryptobyte.String
	body.ReadOptionalASN1(&flags, nil, tag1)
	if !optionalOctets(&body, tag2, &v.Token) {
		return v, ErrNotToken
	}
	return v, v.hintsAndMIC(&body)
}

// mechTypes reads the list of mechanisms and keeps its encoding.
func (v *Init) mechTypes(body *cryptobyte.String) error {
	var types, list cryptobyte.String
	if !body.ReadASN1(&types, tag0) {
		return ErrNotToken
	}
	v.MechList = []byte(types)
	if !types.ReadASN1(&list, asn1tag.SEQUENCE) || !types.Empty() {
		return ErrNotToken
	}
	for !list.Empty() {
		var m asn1.ObjectIdentifier
		if len(v.Mechs) == maxMechs || !list.ReadASN1ObjectIdentifier(&m) {
			return ErrNotToken
		}
		v.Mechs = append(v.Mechs, m)
	}
	return nil
}

// hintsAndMIC reads field 3, which is mechListMIC in NegTokenInit and negHints
// in NegTokenInit2, and field 4 (MS-SPNG 2.2.1).
func (v *Init) hintsAndMIC(body *cryptobyte.String) error {
	var three cryptobyte.String
	var has bool
	if !body.ReadOptionalASN1(&three, &has, tag3) {
		return ErrNotToken
	}
	if has && three.PeekASN1Tag(asn1tag.OCTET_STRING) {
		var mic cryptobyte.String
		if !three.ReadASN1(&mic, asn1tag.OCTET_STRING) {
			return ErrNotToken
		}
		v.MIC = mic
	} else if has {
		var hints, name, text cryptobyte.String
		var hasName bool
		if !three.ReadASN1(&hints, asn1tag.SEQUENCE) || !hints.ReadOptionalASN1(&name, &hasName, tag0) {
			return ErrNotToken
		}
		if hasName {
			if !name.ReadASN1(&text, asn1tag.GeneralString) {
				return ErrNotToken
			}
			v.Hint = string(text)
		}
	}
	if v.MIC == nil && !optionalOctets(body, tag4, &v.MIC) {
		return ErrNotToken
	}
	return nil
}

func optionalOctets(s *cryptobyte.String, tag asn1tag.Tag, to *[]byte) bool {
	var outer, inner cryptobyte.String
	var has bool
	if !s.ReadOptionalASN1(&outer, &has, tag) {
		return false
	}
	if !has {
		return true
	}
	if !outer.ReadASN1(&inner, asn1tag.OCTET_STRING) {
		return false
	}
	*to = inner
	return true
}

// Append encodes a NegTokenInit; with Hint set a NegTokenInit2.
func (v *Init) Append(b []byte) []byte {
	var w cryptobyte.Builder
	w.AddASN1(tagApp0, func(w *cryptobyte.Builder) {
		w.AddASN1ObjectIdentifier(OID)
		w.AddASN1(tag0, func(w *cryptobyte.Builder) {
			w.AddASN1(asn1tag.SEQUENCE, v.body)
		})
	})
	return append(b, w.BytesOrPanic()...)
}

func (v *Init) body(w *cryptobyte.Builder) {
	w.AddASN1(tag0, func(w *cryptobyte.Builder) { w.AddBytes(EncodeMechList(v.Mechs)) })
	octets(w, tag2, v.Token)
	mic := tag3
	if v.Hint != "" {
		mic = tag4
		w.AddASN1(tag3, func(w *cryptobyte.Builder) {
			w.AddASN1(asn1tag.SEQUENCE, func(w *cryptobyte.Builder) {
				w.AddASN1(tag0, func(w *cryptobyte.Builder) {
					w.AddASN1(asn1tag.GeneralString, func(w *cryptobyte.Builder) { w.AddBytes([]byte(v.Hint)) })
				})
			})
		})
	}
	octets(w, mic, v.MIC)
}

func octets(w *cryptobyte.Builder, tag asn1tag.Tag, p []byte) {
	if p != nil {
		w.AddASN1(tag, func(w *cryptobyte.Builder) { w.AddASN1OctetString(p) })
	}
}

// EncodeMechList is the DER encoding of a list of mechanisms.
func EncodeMechList(mechs []asn1.ObjectIdentifier) []byte {
	var w cryptobyte.Builder
	w.AddASN1(asn1tag.SEQUENCE, func(w *cryptobyte.Builder) {
		for _, m := range mechs {
			w.AddASN1ObjectIdentifier(m)
		}
	})
	return w.BytesOrPanic()
}

// DecodeResp reads a NegTokenResp.
func DecodeResp(b []byte) (Resp, error) {
	s := cryptobyte.String(b)
	v := Resp{State: NoState}
	var outer, body, state, mech cryptobyte.String
	var hasState, hasMech bool
	if !s.ReadASN1(&outer, tag1) || !outer.ReadASN1(&body, asn1tag.SEQUENCE) ||
		!body.ReadOptionalASN1(&state, &hasState, tag0) {
		return v, ErrNotToken
	}
	if hasState {
		var n int
		if !state.ReadASN1Enum(&n) || n < 0 || n > int(RequestMIC) {
			return v, ErrNotToken
		}
		v.State = State(n)
	}
	if !body.ReadOptionalASN1(&mech, &hasMech, tag1) || hasMech && !mech.ReadASN1ObjectIdentifier(&v.Mech) {
		return v, ErrNotToken
	}
	if !optionalOctets(&body, tag2, &v.Token) || !optionalOctets(&body, tag3, &v.MIC) {
		return v, ErrNotToken
	}
	return v, nil
}

// Append encodes a NegTokenResp.
func (v *Resp) Append(b []byte) []byte {
	var w cryptobyte.Builder
	w.AddASN1(tag1, func(w *cryptobyte.Builder) {
		w.AddASN1(asn1tag.SEQUENCE, func(w *cryptobyte.Builder) {
			if v.State != NoState {
				w.AddASN1(tag0, func(w *cryptobyte.Builder) { w.AddASN1Enum(int64(v.State)) })
			}
			if v.Mech != nil {
				w.AddASN1(tag1, func(w *cryptobyte.Builder) { w.AddASN1ObjectIdentifier(v.Mech) })
			}
			octets(w, tag2, v.Token)
			octets(w, tag3, v.MIC)
		})
	})
	return append(b, w.BytesOrPanic()...)
}
