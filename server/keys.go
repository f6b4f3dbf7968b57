package server

import (
	"errors"
	"fmt"
	"sync"

	"gabion/protocol/smb2"
	"gabion/protocol/smbcrypto"
)

// signer signs and verifies messages; it is safe for concurrent use.
type signer interface {
	Sign(msg []byte)
	Verify(msg []byte) bool
	// SignPieces is Sign for a message that lies in pieces; false if it must be in one.
	SignPieces(pieces [][]byte) bool
}

var scratches = sync.Pool{New: func() any { return new(smbcrypto.Scratch) }}

// keySigner is a signer with one key.
type keySigner struct{ s *smbcrypto.Signer }

func (k keySigner) Sign(msg []byte) {
	scratch := scratches.Get().(*smbcrypto.Scratch)
	k.s.Sign(msg, scratch)
	scratches.Put(scratch)
}

func (k keySigner) Verify(msg []byte) bool {
	scratch := scratches.Get().(*smbcrypto.Scratch)
	ok := k.s.Verify(msg, scratch)
	scratches.Put(scratch)
	return ok
}

// sessionKeys are a session's keys [MS-SMB2] 3.3.1.8. The zero value, of a session
// whose authentication gave no key, neither signs nor seals.
type sessionKeys struct {
	signing     [16]byte
	application [16]byte
	present     bool
	algorithm   smb2.SigningAlgorithm // of the first connection
	cipher      smb2.Cipher
	out, in     *smbcrypto.Sealer // nil: no encryption
}

// deriveKeys makes the keys of a session that was authenticated on c.
func deriveKeys(c *conn, key []byte, preauth [64]byte, named bool) sessionKeys {
	hash := smbcrypto.Preauth(preauth)
	d := smbcrypto.Derive(c.dialect, c.cipher, key, &hash)
	k := sessionKeys{signing: d.Signing, application: d.Application, present: true, algorithm: c.signing, cipher: c.cipher}
	// Guest and anonymous sessions do not encrypt [MS-SMB2] 3.3.5.5.3.
	if named && c.canEncrypt() {
		out, err1 := smbcrypto.NewSealer(c.cipher, d.ServerToClient)
		in, err2 := smbcrypto.NewSealer(c.cipher, d.ClientToServer)
		if err1 == nil && err2 == nil {
			k.out, k.in = out, in
		}
	}
	return k
}

// signer is the signer of the session's own key on a connection, nil without a key.
func (k *sessionKeys) signer(c *conn) signer {
	if !k.present {
		return nil
	}
	return newSigner(c.signing, k.signing)
}

// bindingSigner verifies and signs on a connection that is to be bound, with the
// session's key [MS-SMB2] 3.3.5.2.4 and the algorithm of the session's first connection.
func (k *sessionKeys) bindingSigner() signer {
	if !k.present {
		return nil
	}
	return newSigner(k.algorithm, k.signing)
}

func (k *sessionKeys) canSeal() bool { return k.out != nil }

// channelSigner is the signer of a bound channel, whose key comes from its own authentication.
func channelSigner(c *conn, key []byte, preauth [64]byte) signer {
	hash := smbcrypto.Preauth(preauth)
	return newSigner(c.signing, smbcrypto.Derive(c.dialect, c.cipher, key, &hash).Signing)
}

func newSigner(a smb2.SigningAlgorithm, key [16]byte) signer {
	s, err := smbcrypto.NewSigner(a, key)
	if err != nil {
		panic(fmt.Sprintf("signing algorithm %v was negotiated and is unknown", a))
	}
	return keySigner{s}
}

var errTransform = errors.New("encrypted message that no session can have sent")

// unseal decrypts an encrypted frame in place [MS-SMB2] 3.3.5.2.1.1.
func (c *conn) unseal(frame []byte) ([]byte, *session, error) {
	h, err := smb2.ParseTransformHeader(frame)
	if err != nil {
		return nil, nil, err
	}
	ch := c.channel(h.SessionID())
	if ch == nil || ch.session.keys.in == nil {
		return nil, nil, errTransform
	}
	scratch := scratches.Get().(*smbcrypto.Scratch)
	plain, err := ch.session.keys.in.Open(frame, scratch)
	scratches.Put(scratch)
	if err != nil {
		return nil, nil, err
	}
	if len(plain) < smb2Header || smb2.Protocol(plain) != smb2.ProtocolSMB2 {
		return nil, nil, errTransform
	}
	if g := smb2.Header(plain[:smb2Header]); g.IsRelated() || g.SessionID() != ch.session.id {
		return nil, nil, errTransform
	}
	return plain, ch.session, c.checkSize(plain)
}

// seal encrypts the messages of a list, size bytes together, into one frame.
func (s *session) seal(first *buffer, size int) *buffer {
	b := first
	if first.next != nil {
		b = newBuffer(headroom + size + trailer)
		at := headroom
		for m := first; m != nil; {
			at += copy(b.mem[at:], m.data)
			b.charge += m.charge
			next := m.next
			m.release()
			m = next
		}
	}
	frame := b.mem[frameHeader : headroom+size]
	s.keys.out.Seal(frame, s.id)
	putFrameHeader(b.mem, len(frame))
	b.data = b.mem[:headroom+size]
	return b
}
