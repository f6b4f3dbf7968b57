package kerberos

import (
	"bytes"
	"slices"
	"testing"

	"gabion/protocol/krb5"
)

// pair is the protection of both ends of one context. What the initiator's end does
// is the acceptor's with directions and flags exchanged.
func pair(etype int32) (initiator, acceptor *Protection) {
	key := krb5.Key{EType: etype, Value: bytes.Repeat([]byte{5}, suites[etype].keyLen)}
	us := &Context{key: key, acceptorSubkey: true, send: 100, receive: 200}
	acceptor = us.Protection()
	them := &Context{key: key, acceptorSubkey: true, send: 200, receive: 100}
	initiator = &Protection{c: them, suite: suites[etype], out: acceptor.in, in: acceptor.out, outFlags: krb5.AcceptorSubkey}
	return initiator, acceptor
}

func TestSealAndUnseal(t *testing.T) {
	for _, etype := range []int32{AES128, AES256} {
		for _, n := range []int{16, 32, 160, 4096} {
			client, server := pair(etype)
			for range 3 {
				message := bytes.Repeat([]byte("0123456789abcdef"), n/16+2)
				want := slices.Clone(message)
				part := message[24 : 24+n]
				token := client.Seal(message, part)
				if len(token) != SealLen || bytes.Contains(message[24:], want[24:40]) {
					t.Fatalf("token of %d bytes, message %q", len(token), message)
				}
				if !server.Unseal(message, part, token) || !bytes.Equal(message, want) {
					t.Fatalf("etype %d, %d bytes: not unsealed", etype, n)
				}
			}
		}
	}
}

func TestUnsealRefuses(t *testing.T) {
	fresh := func() (server *Protection, message, part, token []byte) {
		client, server := pair(AES256)
		message = bytes.Repeat([]byte{7}, 96)
		part = message[24:72]
		return server, message, part, client.Seal(message, part)
	}
	for i := range SealLen {
		server, message, part, token := fresh()
		token[i] ^= 0x20
		if server.Unseal(message, part, token) {
			t.Errorf("byte %d of the token altered", i)
		}
	}
	for _, i := range []int{0, 23, 24, 71, 72, 95} {
		server, message, part, token := fresh()
		message[i] ^= 1
		if server.Unseal(message, part, token) {
			t.Errorf("byte %d of the message altered", i)
		}
	}
	server, message, part, token := fresh()
	again := slices.Clone(message)
	if !server.Unseal(message, part, token) || server.Unseal(again, again[24:72], token) {
		t.Error("a message is accepted twice, or never")
	}
	server, message, part, token = fresh()
	if server.Unseal(message, part, token[:SealLen-1]) || server.Verify(message, token) {
		t.Error("another kind of token is accepted")
	}
}

func TestSignedInOrder(t *testing.T) {
	client, server := pair(AES128)
	// The client's end signs with the acceptor's usage; make its tokens by hand.
	sign := func(message []byte) []byte {
		h := krb5.MessageHeader{Flags: krb5.AcceptorSubkey, Sequence: client.c.send}
		client.c.send++
		token := h.Append(nil)
		return append(token, client.c.checksum(usageInitiatorSign, message, token)...)
	}
	first, second := sign([]byte("one")), sign([]byte("two"))
	if len(first) != SignLen || server.Verify([]byte("two"), second) {
		t.Error("the second message is accepted before the first")
	}
	if !server.Verify([]byte("one"), first) || server.Verify([]byte("one"), first) || !server.Verify([]byte("two"), second) {
		t.Error("messages in order")
	}
}

func FuzzUnseal(f *testing.F) {
	client, _ := pair(AES256)
	message := bytes.Repeat([]byte{7}, 64)
	f.Add(message, client.Seal(message, message[16:48]))
	f.Fuzz(func(t *testing.T, message, token []byte) {
		_, server := pair(AES256)
		server.Verify(message, token)
		server.Unseal(message, message[len(message)/2:], token)
	})
}
