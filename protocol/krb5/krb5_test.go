package krb5

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"testing"
	"time"
)

var (
	noon    = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	alice   = Principal{NamePrincipal, []string{"alice"}}
	service = Principal{NameService, []string{"cifs", "filesrv.gabion.test"}}
	cipher  = EncryptedData{EType: 18, KVNO: 3, HasKVNO: true, Cipher: []byte("cipher")}
	aesKey  = Key{18, []byte("0123456789abcdef0123456789abcdef")}
)

func number(n uint32) *uint32 { return &n }

// codec is one message in both directions.
type codec struct {
	name   string
	value  any
	encode func() []byte
	decode func([]byte) (any, error)
}

func codecs() []codec {
	req := APReq{Options: OptionMutualRequired, Ticket: Ticket{"GABION.TEST", service, cipher}, Authenticator: EncryptedData{EType: -128, Cipher: []byte{1}}}
	ticket := EncTicketPart{Flags: TicketForwardable, Key: aesKey, Realm: "GABION.TEST", Client: alice, AuthTime: noon, StartTime: noon,
		EndTime: noon.Add(time.Hour), RenewTill: noon.Add(48 * time.Hour), AuthData: []AuthData{{ADIfRelevant, []byte("x")}, {-1, []byte("y")}}}
	short := EncTicketPart{Key: aesKey, Realm: "R", Client: alice, AuthTime: noon, EndTime: noon}
	auth := Authenticator{Realm: "GABION.TEST", Client: alice, Checksum: &Checksum{ChecksumGSS, []byte("sum")}, Microsec: 999999, Time: noon,
		Subkey: &aesKey, Sequence: number(1<<32 - 1), AuthData: []AuthData{{ADIfRelevant, []byte("x")}}}
	bare := Authenticator{Realm: "R", Client: alice, Time: noon}
	rep := APRep{cipher}
	part := EncAPRepPart{Time: noon, Microsec: 5, Subkey: &aesKey, Sequence: number(7)}
	failure := Error{ClientTime: noon, ClientMicrosec: 3, Time: noon, Microsec: 4, Code: ErrSkew, Realm: "GABION.TEST", Service: service,
		Text: "clock", Data: SkewRecovery}
	bareFailure := Error{Time: noon, Code: ErrModified, Realm: "R", Service: service}
	header := MessageHeader{Flags: SentByAcceptor | AcceptorSubkey, Sequence: 1 << 40}
	wrap := MessageHeader{Wrap: true, Flags: Sealed, EC: 16, RRC: 28, Sequence: 9}
	ask := ContextRequest{Bindings: [16]byte{1}, Flags: FlagMutual | FlagDCE}
	encTicket := func(t *EncTicketPart) codec {
		return codec{"EncTicketPart", *t, t.Encode, func(b []byte) (any, error) { return any2(DecodeEncTicketPart(b)) }}
	}
	authenticator := func(a *Authenticator) codec {
		return codec{"Authenticator", *a, a.Encode, func(b []byte) (any, error) { return any2(DecodeAuthenticator(b)) }}
	}
	krbError := func(e *Error) codec {
		return codec{"Error", *e, e.Encode, func(b []byte) (any, error) { return any2(DecodeError(b)) }}
	}
	messageHeader := func(h *MessageHeader) codec {
		return codec{"MessageHeader", *h, func() []byte { return h.Append(nil) }, func(b []byte) (any, error) { return any2(DecodeMessageHeader(b)) }}
	}
	return []codec{
		{"APReq", req, req.Encode, func(b []byte) (any, error) { return any2(DecodeAPReq(b)) }},
		encTicket(&ticket), encTicket(&short), authenticator(&auth), authenticator(&bare),
		{"APRep", rep, rep.Encode, func(b []byte) (any, error) { return any2(DecodeAPRep(b)) }},
		{"EncAPRepPart", part, part.Encode, func(b []byte) (any, error) { return any2(DecodeEncAPRepPart(b)) }},
		krbError(&failure), krbError(&bareFailure), messageHeader(&header), messageHeader(&wrap),
		{"ContextRequest", ask, ask.Encode, func(b []byte) (any, error) { return any2(DecodeContextRequest(b)) }},
		{"Keytab", table(), func() []byte { return EncodeKeytab(table()) }, func(b []byte) (any, error) { return any2(DecodeKeytab(b)) }},
	}
}

func any2[T any](v T, err error) (any, error) { return v, err }

func table() []KeytabEntry {
	return []KeytabEntry{
		{Realm: "GABION.TEST", Principal: service, Time: noon, KVNO: 258, Key: aesKey},
		{Realm: "GABION.TEST", Principal: alice, Time: noon, KVNO: 2, Short: true, Key: Key{23, make([]byte, 16)}},
	}
}

func TestRoundTrip(t *testing.T) {
	for _, c := range codecs() {
		b := c.encode()
		got, err := c.decode(b)
		if err != nil || !reflect.DeepEqual(got, c.value) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", c.name, err, got, c.value)
		}
		for n := range b {
			if v, err := c.decode(b[:n]); err == nil && c.name != "Keytab" {
				t.Errorf("%s cut to %d of %d bytes: %+v", c.name, n, len(b), v)
			}
		}
	}
}

func TestToken(t *testing.T) {
	b := EncodeToken(TokenAPReq, []byte("body"))
	if want := "\x60\x11\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02\x01\x00body"; string(b) != want {
		t.Errorf("%x", b)
	}
	if id, body, err := DecodeToken(b); err != nil || id != TokenAPReq || string(body) != "body" || !IsToken(b) {
		t.Errorf("%v %q %v", id, body, err)
	}
	if _, _, err := DecodeToken(append(b, 0)); err == nil {
		t.Error("accepted a byte behind the token")
	}
}

func TestKeytabHolesAndPadding(t *testing.T) {
	b := EncodeKeytab(table())
	hole := binary.BigEndian.AppendUint32(nil, uint32(0xffffffff-9)) // -10
	with := append(bytes.Clone(b[:2]), append(hole, make([]byte, 10)...)...)
	with = append(with, b[2:]...)
	with = append(with, make([]byte, 8)...)
	got, err := DecodeKeytab(with)
	if err != nil || !reflect.DeepEqual(got, table()) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestKeyVersions(t *testing.T) {
	long, short := KeytabEntry{KVNO: 258}, KeytabEntry{KVNO: 2, Short: true}
	tests := []struct {
		entry KeytabEntry
		kvno  uint32
		want  bool
	}{
		{long, 258, true}, {long, 2, false}, {long, 0x70000 | 258, true},
		{short, 2, true}, {short, 258, true}, {short, 3, false},
	}
	for _, tt := range tests {
		if got := tt.entry.HasKVNO(tt.kvno); got != tt.want {
			t.Errorf("%+v has %d: %v", tt.entry, tt.kvno, got)
		}
	}
}

func FuzzDecode(f *testing.F) {
	all := codecs()
	for _, c := range all {
		f.Add(c.encode())
	}
	f.Add(EncodeToken(TokenAPReq, []byte("body")))
	f.Add(EncodeAuthData([]AuthData{{1, []byte("x")}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, c := range all {
			_, _ = c.decode(b)
		}
		if _, body, err := DecodeToken(b); err == nil {
			_, _ = DecodeAPReq(body)
		}
		if list, err := DecodeAuthData(b); err == nil {
			if again, err := DecodeAuthData(EncodeAuthData(list)); err != nil || !reflect.DeepEqual(again, list) {
				t.Errorf("%v: %v, %v", list, again, err)
			}
		}
		if req, err := DecodeAPReq(b); err == nil {
			if again, err := DecodeAPReq(req.Encode()); err != nil || !reflect.DeepEqual(again, req) {
				t.Errorf("%+v: %+v, %v", req, again, err)
			}
		}
	})
}
