package kerberos

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/rc4"
	"crypto/subtle"
	"encoding/binary"
	"time"

	"gabion/protocol/krb5"
)

// Context is an accepted ticket's security context. It is not safe for concurrent use.
type Context struct {
	Who    Who
	Client krb5.Principal
	Realm  string
	// Service is the name that the ticket is for, in the array's own realm.
	Service      krb5.Principal
	ServiceRealm string
	EType        int32 // the ticket's
	// AuthTime is when the client gave its password, EndTime when the ticket expires.
	AuthTime, EndTime time.Time
	Flags             uint32 // krb5.Flag…, what the client asked for

	key            krb5.Key // of the context
	ticketKey      krb5.Key
	acceptorSubkey bool
	send, receive  uint64 // next sequence numbers
	clientTime     time.Time
	clientMicrosec int32
}

// Name is client@REALM.
func (c *Context) Name() string { return c.Client.String() + "@" + c.Realm }

// SessionKey is the key that both sides agreed on: the acceptor's subkey, else the
// client's, else the ticket's ([MS-SMB2] 3.3.5.5.3 takes its first 16 bytes).
func (c *Context) SessionKey() []byte { return append([]byte(nil), c.key.Value...) }

// Sign returns a MIC token for the next message sent (GSS_GetMIC).
func (c *Context) Sign(message []byte) []byte {
	seq := c.send
	c.send++
	if c.key.EType == RC4 {
		return c.sign4757(message, uint32(seq), true)
	}
	h := krb5.MessageHeader{Flags: krb5.SentByAcceptor, Sequence: seq}
	if c.acceptorSubkey {
		h.Flags |= krb5.AcceptorSubkey
	}
	token := h.Append(nil)
	return append(token, c.checksum(usageAcceptorSign, message, token)...)
}

// Verify checks the MIC token of a message from the client (GSS_VerifyMIC). The
// order of messages is not looked at, see Protection.
func (c *Context) Verify(message, token []byte) bool {
	if c.key.EType == RC4 {
		return c.verify4757(message, token)
	}
	h, err := krb5.DecodeMessageHeader(token)
	if err != nil || h.Wrap || h.Flags&krb5.SentByAcceptor != 0 || (h.Flags&krb5.AcceptorSubkey != 0) != c.acceptorSubkey {
		return false
	}
	want := c.checksum(usageInitiatorSign, message, token[:krb5.MessageHeaderLen])
	if subtle.ConstantTimeCompare(want, token[krb5.MessageHeaderLen:]) != 1 {
		return false
	}
	c.receive = h.Sequence + 1
	return true
}

// checksum is RFC 4121 4.2.4's: over the message and the token's header.
func (c *Context) checksum(usage uint32, message, header []byte) []byte {
	data := append(append(make([]byte, 0, len(message)+len(header)), message...), header...)
	sum, err := suites[c.key.EType].GetChecksumHash(c.key.Value, data, usage)
	if err != nil {
		panic("kerberos: a key that was checked makes no checksum: " + err.Error())
	}
	return sum
}

// MIC tokens of rc4-hmac (RFC 4757 7.2).
const (
	mic4757Len  = 24 // without frame and token id
	mic4757Head = "\x01\x01\x11\x00\xff\xff\xff\xff"
	signSalt    = 15
)

func hmacMD5(key []byte, parts ...[]byte) []byte {
	m := hmac.New(md5.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// sum4757 is SGN_CKSUM.
func (c *Context) sum4757(message []byte) []byte {
	h := md5.New()
	h.Write(binary.LittleEndian.AppendUint32(nil, signSalt))
	h.Write([]byte(mic4757Head))
	h.Write(message)
	return hmacMD5(hmacMD5(c.key.Value, []byte("signaturekey\x00")), h.Sum(nil))[:8]
}

// sequence4757 encrypts or decrypts SND_SEQ.
func (c *Context) sequence4757(sum []byte, seq []byte) {
	key := hmacMD5(hmacMD5(c.key.Value, make([]byte, 4)), sum)
	cipher, err := rc4.NewCipher(key)
	if err != nil {
		panic("kerberos: RC4 takes keys of 16 bytes")
	}
	cipher.XORKeyStream(seq, seq)
}

func (c *Context) sign4757(message []byte, number uint32, acceptor bool) []byte {
	sum := c.sum4757(message)
	seq := binary.BigEndian.AppendUint32(nil, number)
	direction := byte(0)
	if acceptor {
		direction = 0xff
	}
	seq = append(seq, direction, direction, direction, direction)
	c.sequence4757(sum, seq)
	body := append([]byte(mic4757Head[2:]), seq...)
	return krb5.EncodeToken(krb5.TokenMIC1964, append(body, sum...))
}

func (c *Context) verify4757(message, token []byte) bool {
	id, body, err := krb5.DecodeToken(token)
	if err != nil || id != krb5.TokenMIC1964 || len(body) != mic4757Len-2 || string(body[:6]) != mic4757Head[2:] {
		return false
	}
	sum := c.sum4757(message)
	if subtle.ConstantTimeCompare(sum, body[14:]) != 1 {
		return false
	}
	seq := append([]byte(nil), body[6:14]...)
	c.sequence4757(sum, seq)
	return [4]byte(seq[4:]) == [4]byte{} // from the initiator
}
