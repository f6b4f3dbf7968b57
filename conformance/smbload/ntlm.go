package main

// NTLMv2 (MS-NLMP) inside SPNEGO (RFC 4178), client side only.

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"
	"crypto/rand"
	"crypto/rc4"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/crypto/md4" //lint:ignore SA1019 NTLM is defined by MD4
)

const (
	ntlmUnicode     = 0x00000001
	ntlmReqTarget   = 0x00000004
	ntlmSign        = 0x00000010
	ntlmSeal        = 0x00000020
	ntlmNTLM        = 0x00000200
	ntlmAlwaysSign  = 0x00008000
	ntlmESS         = 0x00080000
	ntlmTargetInfo  = 0x00800000
	ntlmVersion     = 0x02000000
	ntlm128         = 0x20000000
	ntlmKeyExch     = 0x40000000
	ntlm56          = 0x80000000
	ntlmClientFlags = ntlmUnicode | ntlmReqTarget | ntlmSign | ntlmSeal | ntlmNTLM | ntlmAlwaysSign |
		ntlmESS | ntlmTargetInfo | ntlmVersion | ntlm128 | ntlmKeyExch | ntlm56
)

var ntlmVer = []byte{10, 0, 0x61, 0x4a, 0, 0, 0, 15}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	m := hmac.New(md5.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

// ntowfv2 is NTOWFv2(password, user, domain).
func ntowfv2(user, domain, password string) []byte {
	h := md4.New()
	h.Write(utf16le(password))
	return hmacMD5(h.Sum(nil), utf16le(strings.ToUpper(user)+domain))
}

// ntlmv2Response returns the NT response and the session base key.
func ntlmv2Response(key, serverChallenge, clientChallenge, timestamp, targetInfo []byte) (resp, base []byte) {
	var t []byte
	t = append(t, 1, 1, 0, 0, 0, 0, 0, 0)
	t = append(t, timestamp...)
	t = append(t, clientChallenge...)
	t = append(t, 0, 0, 0, 0)
	t = append(t, targetInfo...)
	t = append(t, 0, 0, 0, 0)
	proof := hmacMD5(key, serverChallenge, t)
	return append(append([]byte(nil), proof...), t...), hmacMD5(key, proof)
}

type ntlmClient struct {
	user, domain, password string
	neg                    []byte
	key                    []byte // exported session key
}

func (c *ntlmClient) negotiate() []byte {
	b := make([]byte, 40)
	copy(b, "NTLMSSP\x00")
	le.PutUint32(b[8:], 1)
	le.PutUint32(b[12:], ntlmClientFlags)
	le.PutUint32(b[20:], 40)
	le.PutUint32(b[28:], 40)
	copy(b[32:], ntlmVer)
	c.neg = b
	return b
}

func field(b []byte, at int) ([]byte, error) {
	n, off := int(le.Uint16(b[at:])), int(le.Uint32(b[at+4:]))
	if n == 0 {
		return nil, nil
	}
	if off < 0 || off+n > len(b) {
		return nil, errors.New("NTLM field outside the message")
	}
	return b[off : off+n], nil
}

func (c *ntlmClient) authenticate(chal []byte) ([]byte, error) {
	if len(chal) < 48 || !bytes.Equal(chal[:8], []byte("NTLMSSP\x00")) || le.Uint32(chal[8:]) != 2 {
		return nil, errors.New("not an NTLM CHALLENGE message")
	}
	flags := le.Uint32(chal[20:]) & ntlmClientFlags
	if flags&ntlmKeyExch == 0 || flags&ntlmESS == 0 {
		return nil, fmt.Errorf("server does not do NTLM key exchange with extended session security (flags %#x)", flags)
	}
	server := chal[24:32]
	info, err := field(chal, 40)
	if err != nil {
		return nil, err
	}
	// Copy the AV pairs up to the end marker, take the timestamp, and say in
	// MsvAvFlags that a MIC is present.
	var av, ts []byte
	avFlags := uint32(2)
	for p := info; len(p) >= 4; {
		id, n := le.Uint16(p), int(le.Uint16(p[2:]))
		if id == 0 || 4+n > len(p) {
			break
		}
		switch id {
		case 6:
			if n == 4 {
				avFlags |= le.Uint32(p[4:])
			}
		case 7:
			ts = append([]byte(nil), p[4:4+n]...)
			fallthrough
		default:
			av = append(av, p[:4+n]...)
		}
		p = p[4+n:]
	}
	av = append(av, 6, 0, 4, 0, byte(avFlags), byte(avFlags>>8), byte(avFlags>>16), byte(avFlags>>24))
	av = append(av, 0, 0, 0, 0)

	cc := make([]byte, 8)
	rand.Read(cc)
	key := ntowfv2(c.user, c.domain, c.password)
	lm := make([]byte, 24)
	if len(ts) != 8 {
		ts = make([]byte, 8)
		le.PutUint64(ts, uint64(time.Now().UnixNano()/100+116444736000000000))
		copy(lm, hmacMD5(key, server, cc))
		copy(lm[16:], cc)
	}
	nt, base := ntlmv2Response(key, server, cc, ts, av)

	c.key = make([]byte, 16)
	rand.Read(c.key)
	enc := make([]byte, 16)
	r, err := rc4.NewCipher(base)
	if err != nil {
		return nil, err
	}
	r.XORKeyStream(enc, c.key)

	msg := make([]byte, 88)
	copy(msg, "NTLMSSP\x00")
	le.PutUint32(msg[8:], 3)
	add := func(at int, v []byte) {
		le.PutUint16(msg[at:], uint16(len(v)))
		le.PutUint16(msg[at+2:], uint16(len(v)))
		le.PutUint32(msg[at+4:], uint32(len(msg)))
		msg = append(msg, v...)
	}
	add(28, utf16le(c.domain))
	add(36, utf16le(c.user))
	add(44, utf16le("SMBLOAD"))
	add(12, lm)
	add(20, nt)
	add(52, enc)
	le.PutUint32(msg[60:], flags)
	copy(msg[64:], ntlmVer)
	copy(msg[72:88], hmacMD5(c.key, c.neg, chal, msg))
	return msg, nil
}

// mic is GSS_GetMIC with sequence number 0, for the SPNEGO mechListMIC.
func (c *ntlmClient) mic(data []byte) []byte {
	sub := func(s string) []byte {
		h := md5.Sum(append(append([]byte(nil), c.key...), s...))
		return h[:]
	}
	sign := sub("session key to client-to-server signing key magic constant\x00")
	seal := sub("session key to client-to-server sealing key magic constant\x00")
	out := make([]byte, 16)
	out[0] = 1
	r, _ := rc4.NewCipher(seal)
	r.XORKeyStream(out[4:12], hmacMD5(sign, make([]byte, 4), data)[:8])
	return out
}

// DER, only as much as SPNEGO needs.

func der(tag byte, parts ...[]byte) []byte {
	body := bytes.Join(parts, nil)
	n := len(body)
	h := []byte{tag}
	switch {
	case n < 0x80:
		h = append(h, byte(n))
	case n < 0x100:
		h = append(h, 0x81, byte(n))
	default:
		h = append(h, 0x82, byte(n>>8), byte(n))
	}
	return append(h, body...)
}

func derNext(b []byte) (tag byte, body, rest []byte, err error) {
	bad := errors.New("bad DER")
	if len(b) < 2 {
		return 0, nil, nil, bad
	}
	n, at := int(b[1]), 2
	if n >= 0x80 {
		k := n & 0x7f
		if k < 1 || k > 3 || len(b) < 2+k {
			return 0, nil, nil, bad
		}
		n = 0
		for _, v := range b[2 : 2+k] {
			n = n<<8 | int(v)
		}
		at += k
	}
	if at+n > len(b) {
		return 0, nil, nil, bad
	}
	return b[0], b[at : at+n], b[at+n:], nil
}

var (
	oidSPNEGO = []byte{0x06, 0x06, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x02}
	oidNTLM   = []byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x02, 0x02, 0x0a}
)

func mechTypes() []byte { return der(0x30, oidNTLM) }

func spnegoInit(token []byte) []byte {
	return der(0x60, oidSPNEGO, der(0xa0, der(0x30,
		der(0xa0, mechTypes()),
		der(0xa2, der(0x04, token)))))
}

func spnegoResp(token, mic []byte) []byte {
	return der(0xa1, der(0x30, der(0xa2, der(0x04, token)), der(0xa3, der(0x04, mic))))
}

// spnegoToken extracts the responseToken of a NegTokenResp; a bare NTLM
// message is returned as it is.
func spnegoToken(b []byte) ([]byte, error) {
	if bytes.HasPrefix(b, []byte("NTLMSSP\x00")) {
		return b, nil
	}
	tag, body, _, err := derNext(b)
	if err != nil || tag != 0xa1 {
		return nil, errors.New("not a SPNEGO NegTokenResp")
	}
	if tag, body, _, err = derNext(body); err != nil || tag != 0x30 {
		return nil, errors.New("bad SPNEGO NegTokenResp")
	}
	for len(body) > 0 {
		var v []byte
		if tag, v, body, err = derNext(body); err != nil {
			return nil, err
		}
		if tag == 0xa2 {
			if tag, v, _, err = derNext(v); err != nil || tag != 4 {
				return nil, errors.New("bad SPNEGO responseToken")
			}
			return v, nil
		}
	}
	return nil, errors.New("no responseToken in the SPNEGO reply (does the server take NTLM?)")
}
