package hostile

import (
	"encoding/binary"
	"fmt"

	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

const bodyAt = smb2.HeaderSize

func put16(b []byte, at int, v uint16) []byte {
	binary.LittleEndian.PutUint16(b[at:], v)
	return b
}

func put32(b []byte, at int, v uint32) []byte {
	binary.LittleEndian.PutUint32(b[at:], v)
	return b
}

func preauth(hashes ...smb2.HashAlgorithm) smb2.NegotiateContext {
	return &smb2.PreauthIntegrityCapabilities{HashAlgorithms: hashes, Salt: make([]byte, 32)}
}

var sha512 = preauth(smb2.HashSHA512)

// negotiateCases are about NEGOTIATE.
var negotiateCases = []Case{
	{"NEGOTIATE without dialects", "3.3.5.4", refused(client.Negotiation{Dialects: []smb2.Dialect{}}, ntstatus.InvalidParameter)},
	{"NEGOTIATE of no known dialect", "3.3.5.4", refused(client.Negotiation{Dialects: []smb2.Dialect{0x0999, 0x0003}}, ntstatus.NotSupported)},
	{"NEGOTIATE of the wildcard", "3.3.5.4", refused(client.Negotiation{Dialects: []smb2.Dialect{smb2.DialectWildcard}}, ntstatus.NotSupported)},
	{"DialectCount lies", "3.3.5.4", spoiledNegotiate(func(b []byte) []byte { return put16(b, bodyAt+2, 0xFFFF) })},
	{"NEGOTIATE StructureSize", "3.3.5.2.6", spoiledNegotiate(func(b []byte) []byte { return put16(b, bodyAt, 37) })},
	{"NEGOTIATE cut off", "3.3.5.2.6", spoiledNegotiate(func(b []byte) []byte { return b[:bodyAt+20] })},
	{"NegotiateContextOffset in front", "3.3.5.4", spoiledNegotiate(func(b []byte) []byte { return put32(b, bodyAt+28, 8) })},
	{"NegotiateContextOffset beyond", "3.3.5.4", spoiledNegotiate(func(b []byte) []byte { return put32(b, bodyAt+28, 0xFFFFFFF8) })},
	{"NegotiateContextCount lies", "3.3.5.4", spoiledNegotiate(func(b []byte) []byte { return put16(b, bodyAt+32, 0xFFFF) })},
	{"3.1.1 without contexts", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{}}, ntstatus.InvalidParameter)},
	{"3.1.1 without preauthentication integrity", "3.3.5.4", refused(client.Negotiation{
		Contexts: []smb2.NegotiateContext{&smb2.EncryptionCapabilities{Ciphers: []smb2.Cipher{smb2.CipherAES128GCM}}}}, ntstatus.InvalidParameter)},
	{"two preauthentication contexts", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{sha512, sha512}}, ntstatus.InvalidParameter)},
	{"no hash algorithm", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{preauth()}}, ntstatus.InvalidParameter, ntstatus.SMBNoPreauthIntegrityHashOverlap)},
	{"no known hash algorithm", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{preauth(99)}}, ntstatus.SMBNoPreauthIntegrityHashOverlap)},
	{"two encryption contexts", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{sha512,
		&smb2.EncryptionCapabilities{Ciphers: []smb2.Cipher{1}}, &smb2.EncryptionCapabilities{Ciphers: []smb2.Cipher{2}}}}, ntstatus.InvalidParameter)},
	{"no cipher", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{sha512, &smb2.EncryptionCapabilities{}}}, ntstatus.InvalidParameter, ntstatus.Success)},
	{"CipherCount lies", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{sha512,
		smb2.RawNegotiateContext{Type: smb2.NegotiateEncryption, Data: []byte{0xFF, 0xFF, 1, 0}}}}, ntstatus.InvalidParameter)},
	{"no signing algorithm", "3.3.5.4", refused(client.Negotiation{Contexts: []smb2.NegotiateContext{sha512, &smb2.SigningCapabilities{}}}, ntstatus.InvalidParameter)},
	{"unknown contexts are ignored", "3.3.5.4", func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			list := []smb2.NegotiateContext{sha512}
			for i := range 10 {
				list = append(list, smb2.RawNegotiateContext{Type: smb2.NegotiateContextType(0x7000 + i), Data: make([]byte, i)})
			}
			return c.Negotiate(client.Negotiation{Contexts: list})
		})
	}},
	{"NEGOTIATE twice", "3.3.5.4", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Body: (&client.Negotiation{}).Request()})
			if r != nil {
				return fmt.Errorf("answered by %s, %w", r.Header, err)
			}
			return ends(c)
		})
	}},
	{"SMB1 NEGOTIATE after NEGOTIATE", "3.3.5.3", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			_ = c.SendFrame(smb2.AppendSMB1Negotiate(nil, smb2.SMB1Dialect202))
			return ends(c)
		})
	}},
	{"SESSION_SETUP before NEGOTIATE", "3.3.5.2.2", before(&smb2.SessionSetupRequest{SecurityBuffer: []byte("token")})},
	{"ECHO before NEGOTIATE", "3.3.5.2.2", before(&smb2.Empty{Of: smb2.CommandEcho})},
	{"CREATE before NEGOTIATE", "3.3.5.2.2", before(client.OpenFile("x"))},
	{"CANCEL before NEGOTIATE", "3.3.5.2.2", before(&smb2.Empty{Of: smb2.CommandCancel})},
	{"unknown command", "3.3.5.2.6", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{Command: 0x7777}, Raw: []byte{4, 0, 0, 0}})
			return endsOrGets(c, r, err, ntstatus.InvalidParameter)
		})
	}},
}

// refused negotiates and expects one of the statuses.
func refused(n client.Negotiation, want ...ntstatus.Status) func(Target) error {
	return func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Body: n.Request()})
			return gets(r, err, want...)
		})
	}
}

// before sends a command where NEGOTIATE belongs and expects the end without a reply.
func before(m smb2.Message) func(Target) error {
	return func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			h := smb2.HeaderFields{Command: m.Command(), Credits: 1}
			_ = c.SendFrame(m.AppendTo(smb2.AppendHeader(nil, &h)))
			return ends(c)
		})
	}
}
