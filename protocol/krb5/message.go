package krb5

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// Message types (RFC 4120 7.5.7) and application tags, which are the same numbers.
const (
	version = 5

	typeAPReq = 14
	typeAPRep = 15
	typeError = 30

	tagTicket        = 1
	tagAuthenticator = 2
	tagEncTicketPart = 3
	tagEncAPRepPart  = 27
)

// maxNames bounds the components of a principal's name; two or three are usual.
const maxNames = 16

// Name types (RFC 4120 6.2).
const (
	NamePrincipal  int32 = 1
	NameService    int32 = 2
	NameEnterprise int32 = 10
)

// Principal is PrincipalName (RFC 4120 5.2.2).
type Principal struct {
	Type int32
	Name []string
}

func (p Principal) String() string { return strings.Join(p.Name, "/") }

// EqualFold compares names as Active Directory does: without case and type.
func (p Principal) EqualFold(q Principal) bool {
	if len(p.Name) != len(q.Name) {
		return false
	}
	for i, n := range p.Name {
		if !strings.EqualFold(n, q.Name[i]) {
			return false
		}
	}
	return true
}

// Key is EncryptionKey (RFC 4120 5.2.9).
type Key struct {
	EType int32
	Value []byte
}

// String does not show the key.
func (k Key) String() string { return fmt.Sprintf("key of etype %d", k.EType) }

// GoString does not show the key either.
func (k Key) GoString() string { return k.String() }

// EncryptedData is EncryptedData (RFC 4120 5.2.9).
type EncryptedData struct {
	EType   int32
	KVNO    uint32
	HasKVNO bool
	Cipher  []byte
}

// Types of authorization data (RFC 4120 5.2.6, [MS-KILE] 3.4.5.3).
const (
	ADIfRelevant int32 = 1
	ADWin2kPAC   int32 = 128
)

// AuthData is one element of AuthorizationData.
type AuthData struct {
	Type int32
	Data []byte
}

// DecodeAuthData reads AuthorizationData, as an AD-IF-RELEVANT contains.
func DecodeAuthData(b []byte) ([]AuthData, error) {
	var f fields
	list := f.authData(cryptobyte.String(b))
	return list, f.err("authorization data")
}

// EncodeAuthData writes AuthorizationData.
func EncodeAuthData(list []AuthData) []byte {
	var w cryptobyte.Builder
	addAuthData(&w, list)
	return w.BytesOrPanic()
}

// Ticket is Ticket (RFC 4120 5.3).
type Ticket struct {
	Realm   string
	Service Principal
	Enc     EncryptedData
}

// DecodeTicket reads a ticket. It keeps nothing of b.
func DecodeTicket(b []byte) (t Ticket, err error) {
	f := openApp(b, tagTicket)
	f.note(f.integer(f.field(0)) == version)
	t.Realm = f.text(f.field(1))
	t.Service = f.principal(f.field(2))
	t.Enc = f.encrypted(f.field(3))
	return t, f.err("ticket")
}

func (t *Ticket) encode() []byte {
	return encodeApp(tagTicket, func(w builder) {
		w.integer(0, version)
		w.text(1, t.Realm)
		w.principal(2, t.Service)
		w.encrypted(3, t.Enc)
	})
}

// Options of an AP-REQ (RFC 4120 5.5.1).
const (
	OptionUseSessionKey  uint32 = 1 << 30
	OptionMutualRequired uint32 = 1 << 29
)

// APReq is AP-REQ (RFC 4120 5.5.1).
type APReq struct {
	Options       uint32
	Ticket        Ticket
	Authenticator EncryptedData
}

// DecodeAPReq reads an AP-REQ. It keeps nothing of b.
func DecodeAPReq(b []byte) (r APReq, err error) {
	f := openApp(b, typeAPReq)
	f.note(f.integer(f.field(0)) == version)
	f.note(f.integer(f.field(1)) == typeAPReq)
	r.Options = f.flags(f.field(2))
	ticket := f.field(3)
	r.Authenticator = f.encrypted(f.field(4))
	if err = f.err("AP-REQ"); err != nil {
		return r, err
	}
	r.Ticket, err = DecodeTicket(ticket)
	return r, err
}

// IsAPReq reports whether b begins like an AP-REQ without a frame, as DCE style has it.
func IsAPReq(b []byte) bool { return len(b) > 0 && b[0] == byte(appTag(typeAPReq)) }

// Encode writes the AP-REQ.
func (r *APReq) Encode() []byte {
	return encodeApp(typeAPReq, func(w builder) {
		w.integer(0, version)
		w.integer(1, typeAPReq)
		w.flags(2, r.Options)
		w.field(3, func(w *cryptobyte.Builder) { w.AddBytes(r.Ticket.encode()) })
		w.encrypted(4, r.Authenticator)
	})
}

func (r *APReq) String() string {
	return fmt.Sprintf("AP-REQ for %s@%s, etype %d, kvno %d, options %#x", r.Ticket.Service, r.Ticket.Realm, r.Ticket.Enc.EType, r.Ticket.Enc.KVNO, r.Options)
}

// Flags of a ticket (RFC 4120 5.3).
const (
	TicketForwardable uint32 = 1 << 30
	TicketInvalid     uint32 = 1 << 24
)

// EncTicketPart is EncTicketPart (RFC 4120 5.3) without the transited realms and
// the addresses, which mean nothing in a Windows domain.
type EncTicketPart struct {
	Flags     uint32
	Key       Key
	Realm     string // the client's
	Client    Principal
	AuthTime  time.Time
	StartTime time.Time // zero: AuthTime
	EndTime   time.Time
	RenewTill time.Time // zero: not renewable
	AuthData  []AuthData
}

// DecodeEncTicketPart reads a decrypted ticket. It keeps nothing of b.
func DecodeEncTicketPart(b []byte) (t EncTicketPart, err error) {
	f := openApp(b, tagEncTicketPart)
	t.Flags = f.flags(f.field(0))
	t.Key = f.key(f.field(1))
	t.Realm = f.text(f.field(2))
	t.Client = f.principal(f.field(3))
	f.field(4) // transited
	t.AuthTime = f.time(f.field(5))
	if v, there := f.optional(6); there {
		t.StartTime = f.time(v)
	}
	t.EndTime = f.time(f.field(7))
	if v, there := f.optional(8); there {
		t.RenewTill = f.time(v)
	}
	f.optional(9) // caddr
	if v, there := f.optional(10); there {
		t.AuthData = f.authData(v)
	}
	return t, f.err("encrypted part of a ticket")
}

// Encode writes the part to be encrypted.
func (t *EncTicketPart) Encode() []byte {
	return encodeApp(tagEncTicketPart, func(w builder) {
		w.flags(0, t.Flags)
		w.key(1, t.Key)
		w.text(2, t.Realm)
		w.principal(3, t.Client)
		w.field(4, func(w *cryptobyte.Builder) {
			sequence(w, func(w builder) { w.integer(0, 1); w.octets(1, nil) })
		})
		w.time(5, t.AuthTime)
		if !t.StartTime.IsZero() {
			w.time(6, t.StartTime)
		}
		w.time(7, t.EndTime)
		if !t.RenewTill.IsZero() {
			w.time(8, t.RenewTill)
		}
		if t.AuthData != nil {
			w.authData(10, t.AuthData)
		}
	})
}

// Checksum is Checksum (RFC 4120 5.2.9).
type Checksum struct {
	Type  int32
	Value []byte
}

// Authenticator is Authenticator (RFC 4120 5.5.1).
type Authenticator struct {
	Realm    string
	Client   Principal
	Checksum *Checksum
	Microsec int32
	Time     time.Time
	Subkey   *Key
	Sequence *uint32
	AuthData []AuthData
}

// DecodeAuthenticator reads a decrypted authenticator. It keeps nothing of b.
func DecodeAuthenticator(b []byte) (a Authenticator, err error) {
	f := openApp(b, tagAuthenticator)
	f.note(f.integer(f.field(0)) == version)
	a.Realm = f.text(f.field(1))
	a.Client = f.principal(f.field(2))
	if v, there := f.optional(3); there {
		in := openSequence(v)
		a.Checksum = &Checksum{Type: int32(in.integer(in.field(0))), Value: in.octets(in.field(1))}
		f.note(!in.bad)
	}
	a.Microsec = f.microsec(f.field(4))
	a.Time = f.time(f.field(5))
	if v, there := f.optional(6); there {
		k := f.key(v)
		a.Subkey = &k
	}
	a.Sequence = f.optionalUint32(7)
	if v, there := f.optional(8); there {
		a.AuthData = f.authData(v)
	}
	return a, f.err("authenticator")
}

func (f *fields) microsec(v cryptobyte.String) int32 {
	n := f.integer(v)
	f.note(n >= 0 && n < 1e6)
	return int32(n)
}

func (f *fields) optionalUint32(n uint8) *uint32 {
	v, there := f.optional(n)
	if !there {
		return nil
	}
	u := uint32(f.integer(v))
	return &u
}

// Encode writes the authenticator to be encrypted.
func (a *Authenticator) Encode() []byte {
	return encodeApp(tagAuthenticator, func(w builder) {
		w.integer(0, version)
		w.text(1, a.Realm)
		w.principal(2, a.Client)
		if a.Checksum != nil {
			w.field(3, func(w *cryptobyte.Builder) {
				sequence(w, func(w builder) {
					w.integer(0, int64(a.Checksum.Type))
					w.octets(1, a.Checksum.Value)
				})
			})
		}
		w.integer(4, int64(a.Microsec))
		w.time(5, a.Time)
		if a.Subkey != nil {
			w.key(6, *a.Subkey)
		}
		if a.Sequence != nil {
			w.integer(7, int64(*a.Sequence))
		}
		if a.AuthData != nil {
			w.authData(8, a.AuthData)
		}
	})
}

// APRep is AP-REP (RFC 4120 5.5.2).
type APRep struct{ Enc EncryptedData }

// DecodeAPRep reads an AP-REP. It keeps nothing of b.
func DecodeAPRep(b []byte) (r APRep, err error) {
	f := openApp(b, typeAPRep)
	f.note(f.integer(f.field(0)) == version)
	f.note(f.integer(f.field(1)) == typeAPRep)
	r.Enc = f.encrypted(f.field(2))
	return r, f.err("AP-REP")
}

// Encode writes the AP-REP.
func (r *APRep) Encode() []byte {
	return encodeApp(typeAPRep, func(w builder) {
		w.integer(0, version)
		w.integer(1, typeAPRep)
		w.encrypted(2, r.Enc)
	})
}

// EncAPRepPart is EncAPRepPart (RFC 4120 5.5.2).
type EncAPRepPart struct {
	Time     time.Time
	Microsec int32
	Subkey   *Key
	Sequence *uint32
}

// DecodeEncAPRepPart reads a decrypted AP-REP. It keeps nothing of b.
func DecodeEncAPRepPart(b []byte) (p EncAPRepPart, err error) {
	f := openApp(b, tagEncAPRepPart)
	p.Time = f.time(f.field(0))
	p.Microsec = f.microsec(f.field(1))
	if v, there := f.optional(2); there {
		k := f.key(v)
		p.Subkey = &k
	}
	p.Sequence = f.optionalUint32(3)
	return p, f.err("encrypted part of an AP-REP")
}

// Encode writes the part to be encrypted.
func (p *EncAPRepPart) Encode() []byte {
	return encodeApp(tagEncAPRepPart, func(w builder) {
		w.time(0, p.Time)
		w.integer(1, int64(p.Microsec))
		if p.Subkey != nil {
			w.key(2, *p.Subkey)
		}
		if p.Sequence != nil {
			w.integer(3, int64(*p.Sequence))
		}
	})
}
