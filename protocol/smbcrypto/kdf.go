package smbcrypto

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"

	"gabion/protocol/smb2"
)

// KDF is the key derivation function of SP800-108 in counter mode with HMAC-SHA256
// and a 32-bit counter, as [MS-SMB2] 3.1.4.2 uses it. It returns bits/8 bytes.
func KDF(key, label, context []byte, bits int) []byte {
	var out []byte
	for i := uint32(1); len(out) < bits/8; i++ {
		h := hmac.New(sha256.New, key)
		h.Write(binary.BigEndian.AppendUint32(nil, i))
		h.Write(label)
		h.Write([]byte{0})
		h.Write(context)
		h.Write(binary.BigEndian.AppendUint32(nil, uint32(bits)))
		out = h.Sum(out)
	}
	return out[:bits/8]
}

// Preauth is the preauthentication integrity hash value of a connection or a
// session ([MS-SMB2] 3.3.5.4, 3.3.5.5). It starts as zeros.
type Preauth [sha512.Size]byte

// Update hashes the value and a message, from its SMB2 header to its end, into the
// new value.
func (p *Preauth) Update(msg []byte) {
	h := sha512.New()
	h.Write(p[:])
	h.Write(msg)
	h.Sum(p[:0])
}

// Keys are the keys of a session or, what Signing is concerned, of one channel.
type Keys struct {
	Signing        [16]byte
	Application    [16]byte
	ClientToServer []byte // 16 bytes, 32 with an AES-256 cipher; nil before 3.0
	ServerToClient []byte
}

// SessionKey is Session.SessionKey: the first 16 bytes of the authentication's key,
// padded with zeros if there are fewer ([MS-SMB2] 3.3.1.8).
func SessionKey(full []byte) (k [16]byte) {
	copy(k[:], full)
	return k
}

// Derive makes the keys that [MS-SMB2] 3.3.5.5.3 wants of the authentication's key.
// preauth is looked at for 3.1.1, cipher for 3.1.1 too: before, it is AES-128-CCM.
// A channel that binds to a session derives from its own authentication, and uses
// Signing alone.
func Derive(dialect smb2.Dialect, cipher smb2.Cipher, full []byte, preauth *Preauth) Keys {
	key := SessionKey(full)
	if !dialect.Is3x() {
		return Keys{Signing: key, Application: key}
	}
	var k Keys
	if dialect != smb2.Dialect311 {
		k.Signing = [16]byte(KDF(key[:], []byte("SMB2AESCMAC\x00"), []byte("SmbSign\x00"), 128))
		k.Application = [16]byte(KDF(key[:], []byte("SMB2APP\x00"), []byte("SmbRpc\x00"), 128))
		k.ClientToServer = KDF(key[:], []byte("SMB2AESCCM\x00"), []byte("ServerIn \x00"), 128)
		k.ServerToClient = KDF(key[:], []byte("SMB2AESCCM\x00"), []byte("ServerOut\x00"), 128)
		return k
	}
	k.Signing = [16]byte(KDF(key[:], []byte("SMBSigningKey\x00"), preauth[:], 128))
	k.Application = [16]byte(KDF(key[:], []byte("SMBAppKey\x00"), preauth[:], 128))
	sealKey, bits := key[:], 128
	if cipher == smb2.CipherAES256CCM || cipher == smb2.CipherAES256GCM {
		sealKey, bits = full, 256
	}
	k.ClientToServer = KDF(sealKey, []byte("SMBC2SCipherKey\x00"), preauth[:], bits)
	k.ServerToClient = KDF(sealKey, []byte("SMBS2CCipherKey\x00"), preauth[:], bits)
	return k
}
