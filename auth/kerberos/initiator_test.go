package kerberos

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"gabion/auth/kerberos/kdctest"
	"gabion/protocol/krb5"
)

// The array's own two ends understand each other.
func TestInitiator(t *testing.T) {
	b := newBench(t, AES256)
	ticket := b.kdc.Issue(b.now, kdctest.Spec{})
	i := &Initiator{Ticket: ticket.Ticket, Session: ticket.Session, Client: ticket.Client, Realm: ticket.Realm}
	token, err := i.Request(b.now, krb5.FlagMutual)
	if err != nil {
		t.Fatal(err)
	}
	answer, c, err := b.a.Begin().Step(token)
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Finish(answer); err != nil || !bytes.Equal(i.key.Value, c.SessionKey()) {
		t.Errorf("%v", err)
	}
	other := b.client(kdctest.Spec{})
	answer, _, err = b.a.Begin().Step(other.Request(b.now))
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Finish(answer); err == nil {
		t.Error("another's AP-REP is accepted")
	}
	late := b.a.Begin()
	b.a.Now = func() time.Time { return b.now.Add(time.Hour) }
	token, _ = i.Request(b.now, krb5.FlagMutual)
	if answer, _, err = late.Step(token); err != nil {
		t.Fatal(err)
	}
	wantCode(t, "wrong clock", i.Finish(answer), krb5.ErrSkew)
}

// wrapPair is an initiator and a stand-in for the acceptor's end of Wrap tokens.
func wrapPair() (*Initiator, func(message []byte, sealed bool, rrc uint16) []byte) {
	key := krb5.Key{EType: AES256, Value: bytes.Repeat([]byte{3}, 32)}
	i := &Initiator{key: key, acceptor: true, receive: 50}
	seq := uint64(50)
	return i, func(message []byte, sealed bool, rrc uint16) []byte {
		h := krb5.MessageHeader{Wrap: true, Flags: krb5.SentByAcceptor | krb5.AcceptorSubkey, Sequence: seq}
		seq++
		var body []byte
		if sealed {
			h.Flags |= krb5.Sealed
			body = kdctest.Seal(key, 22, append(slices.Clone(message), h.Append(nil)...)).Cipher
		} else {
			sum, err := suites[AES256].GetChecksumHash(key.Value, append(slices.Clone(message), h.Append(nil)...), 22)
			if err != nil {
				panic(err)
			}
			h.EC = uint16(len(sum))
			body = append(slices.Clone(message), sum...)
		}
		h.RRC = rrc
		r := len(body) - int(rrc)%len(body)
		return append(h.Append(nil), append(slices.Clone(body[r:]), body[:r]...)...)
	}
}

func TestUnwrap(t *testing.T) {
	i, wrap := wrapPair()
	message := []byte("a search result entry")
	for _, sealed := range []bool{true, false} {
		for _, rrc := range []uint16{0, 12, 28, 1000} {
			got, hidden, err := i.Unwrap(wrap(message, sealed, rrc))
			if err != nil || hidden != sealed || !bytes.Equal(got, message) {
				t.Errorf("sealed %v, rotated by %d: %q, %v, %v", sealed, rrc, got, hidden, err)
			}
		}
	}
	token := wrap(message, true, 28)
	for n := range token {
		i, wrap := wrapPair()
		bad := wrap(message, true, 28)
		bad[n] ^= 0x10
		if got, _, err := i.Unwrap(bad); err == nil {
			t.Errorf("byte %d altered: %q", n, got)
		}
	}
	i, wrap = wrapPair()
	token = wrap(message, true, 0)
	if _, _, err := i.Unwrap(token); err != nil {
		t.Fatal(err)
	}
	if _, _, err := i.Unwrap(token); err == nil {
		t.Error("a token is accepted twice")
	}
}

func FuzzUnwrap(f *testing.F) {
	_, wrap := wrapPair()
	f.Add(wrap([]byte("message"), true, 28))
	_, wrap = wrapPair()
	f.Add(wrap([]byte("message"), false, 12))
	f.Fuzz(func(t *testing.T, token []byte) {
		i, _ := wrapPair()
		_, _, _ = i.Unwrap(token)
		_ = i.Finish(token)
	})
}
