package kerberos

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"crypto/subtle"
	"encoding/binary"

	"gabion/protocol/krb5"
)

// Protection signs and seals the messages of DCE/RPC ([MS-KILE] 3.4.5.4.1): data
// is encrypted where it stands, and the token beside it holds all the rest. Messages of each
// direction must come in order.
//
//	token  header │ E(filler) E(header) checksum │ E(confounder)
//	data                                                        E(data)
//
// which is RFC 4121's header │ E(confounder data filler header) checksum, rotated
// so that the data comes last.
type Protection struct {
	c        *Context
	suite    *suite
	out, in  sealKeys
	outFlags uint8
}

// sealKeys are the keys of one direction (RFC 3961 5.3).
type sealKeys struct{ encrypt, integrity []byte }

const (
	blockLen    = 16
	checksumLen = 12
	extraCount  = blockLen // EC must not be zero, a block is what all peers send
	rotation    = blockLen + checksumLen

	// SignLen and SealLen are the lengths of tokens that sign and that seal.
	SignLen = krb5.MessageHeaderLen + checksumLen
	SealLen = krb5.MessageHeaderLen + extraCount + rotation + blockLen
)

// Protection returns the protection of messages under the context's key, nil with
// rc4-hmac, which backup products have long left behind.
func (c *Context) Protection() *Protection {
	if c.key.EType != AES128 && c.key.EType != AES256 {
		return nil
	}
	p := &Protection{c: c, suite: suites[c.key.EType], outFlags: krb5.SentByAcceptor}
	if c.acceptorSubkey {
		p.outFlags |= krb5.AcceptorSubkey
	}
	p.out, p.in = c.sealKeys(usageAcceptorSeal), c.sealKeys(usageInitiatorSeal)
	return p
}

func (c *Context) sealKeys(usage uint32) (k sealKeys) {
	derive := func(purpose byte) []byte {
		key, err := suites[c.key.EType].DeriveKey(c.key.Value, append(binary.BigEndian.AppendUint32(nil, usage), purpose))
		if err != nil {
			panic("kerberos: a key that was checked derives none: " + err.Error())
		}
		return key
	}
	return sealKeys{encrypt: derive(0xaa), integrity: derive(0x55)}
}

// Sign returns the token of the next message sent.
func (p *Protection) Sign(message []byte) []byte { return p.c.Sign(message) }

// Verify checks the token of the next message received.
func (p *Protection) Verify(message, token []byte) bool {
	want := p.c.receive
	h, err := krb5.DecodeMessageHeader(token)
	return err == nil && h.Sequence == want && p.c.Verify(message, token)
}

// checksum is over confounder, message, filler and header, whatever of the message
// is encrypted.
func (k *sealKeys) checksum(confounder, message, filler, header []byte) []byte {
	m := hmac.New(sha1.New, k.integrity)
	for _, b := range [][]byte{confounder, message, filler, header} {
		m.Write(b)
	}
	return m.Sum(nil)[:checksumLen]
}

// Seal encrypts part, which lies within message, in place and returns the token.
func (p *Protection) Seal(message, part []byte) []byte {
	h := krb5.MessageHeader{Wrap: true, Flags: p.outFlags | krb5.Sealed, EC: extraCount, Sequence: p.c.send}
	p.c.send++
	inner := h.Append(nil) // the encrypted copy has no rotation
	h.RRC = rotation

	plain := make([]byte, blockLen, blockLen+len(part)+extraCount+len(inner))
	_, _ = rand.Read(plain)
	sum := p.out.checksum(plain, message, make([]byte, extraCount), inner)
	plain = append(plain, part...)
	plain = append(plain, make([]byte, extraCount)...)
	plain = append(plain, inner...)
	_, cipher, err := p.suite.EncryptData(p.out.encrypt, plain)
	if err != nil {
		panic("kerberos: AES refuses its own key: " + err.Error())
	}
	behind := blockLen + len(part)
	copy(part, cipher[blockLen:behind])
	token := h.Append(make([]byte, 0, SealLen))
	token = append(token, cipher[behind:]...)
	token = append(token, sum...)
	return append(token, cipher[:blockLen]...)
}

// Unseal decrypts part, which lies within message, in place and checks the token.
func (p *Protection) Unseal(message, part, token []byte) bool {
	h, err := krb5.DecodeMessageHeader(token)
	want := krb5.Sealed
	if p.c.acceptorSubkey {
		want |= krb5.AcceptorSubkey
	}
	if err != nil || len(token) != SealLen || !h.Wrap || h.Flags != want || h.EC != extraCount || h.RRC != rotation || h.Sequence != p.c.receive {
		return false
	}
	p.c.receive++
	tail := token[krb5.MessageHeaderLen : krb5.MessageHeaderLen+extraCount+blockLen]
	sum := token[krb5.MessageHeaderLen+extraCount+blockLen:][:checksumLen]
	confounder := token[SealLen-blockLen:]
	cipher := append(append(append(make([]byte, 0, len(part)+3*blockLen), confounder...), part...), tail...)
	plain, err := p.suite.DecryptData(p.in.encrypt, cipher)
	if err != nil {
		return false
	}
	behind := blockLen + len(part)
	copy(part, plain[blockLen:behind])
	filler, inner := plain[behind:behind+extraCount], plain[behind+extraCount:]
	h.RRC = 0
	right := subtle.ConstantTimeCompare(p.in.checksum(plain[:blockLen], message, filler, inner), sum) == 1
	return right && bytes.Equal(inner, h.Append(nil))
}
