package hostile

import (
	"fmt"

	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// sealedCases are about signatures and encryption.
var sealedCases = []Case{
	{"wrong signature", "3.3.5.2.4", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			r, err := c.Call(&client.Request{Tree: tree, Body: client.OpenDirectory(""), SpoilSigned: func(b []byte) { b[50] ^= 1 }})
			return endsOrGets(c, r, err, ntstatus.AccessDenied)
		})
	}},
	{"body changed behind its signature", "3.3.5.2.4", func(t Target) error {
		return t.file(func(c *client.Conn, f *client.File) error {
			r, err := c.Call(&client.Request{Tree: f.Tree, Body: &smb2.WriteRequest{FileID: f.ID, Data: []byte("good")},
				SpoilSigned: func(b []byte) { b[len(b)-1] ^= 1 }})
			return endsOrGets(c, r, err, ntstatus.AccessDenied)
		})
	}},
	{"unsigned request where signing is required", "3.3.5.2.4", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			if !tree.Session.SigningRequired {
				return nil // this server lets it pass
			}
			r, err := c.Call(&client.Request{Tree: tree, Body: client.OpenDirectory(""), Protect: client.ProtectNothing})
			return endsOrGets(c, r, err, ntstatus.AccessDenied)
		})
	}},
	{"signed with the key of another session", "3.3.5.2.4", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			return t.session(func(_ *client.Conn, other *client.Session) error {
				r, err := c.Call(&client.Request{Tree: tree, Body: client.OpenDirectory(""), SpoilSigned: other.SignMessage})
				return endsOrGets(c, r, err, ntstatus.AccessDenied)
			})
		})
	}},
	{"encrypted message changed", "3.3.5.2.1.1", sealed(func(b []byte) []byte { b[len(b)-1] ^= 1; return b })},
	{"encrypted message with another nonce", "3.3.5.2.1.1", sealed(func(b []byte) []byte { b[20] ^= 1; return b })},
	{"encrypted message with another session id", "3.3.5.2.1.1", sealed(func(b []byte) []byte { b[44] ^= 1; return b })},
	{"encrypted message with other flags", "3.3.5.2.1.1", sealed(func(b []byte) []byte { return put16(b, 42, 2) })},
	{"OriginalMessageSize lies", "3.3.5.2.1.1", sealed(func(b []byte) []byte { return put32(b, 36, 0xFFFFFFFF) })},
	{"encrypted message cut off", "3.3.5.2.1.1", sealed(func(b []byte) []byte { return b[:len(b)-1] })},
	{"encrypted garbage", "3.3.5.2.1.1", sealedBytes(func(*client.Session) []byte { return make([]byte, 100) })},
	{"encrypted nothing much", "3.3.5.2.1.1", sealedBytes(func(*client.Session) []byte { return []byte{0xFE} })},
	{"encrypted message in an encrypted message", "3.3.5.2.1.1", sealedBytes(func(s *client.Session) []byte {
		return s.SealMessage(echo(s, 1), s.ID)
	})},
	{"session id inside differs from that outside", "3.3.5.2.1.1", sealedBytes(func(s *client.Session) []byte {
		m := echo(s, 1)
		smb2.Header(m).SetSessionID(s.ID ^ 0xFF)
		return m
	})},
	{"second request of an encrypted chain is of another session", "3.3.5.2.1.1", func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error {
			other, err := c.Login(t.credentials())
			if err != nil {
				return err
			}
			if !s.CanEncrypt() {
				return nil
			}
			first := append(echo(s, 1), make([]byte, 4)...)
			smb2.Header(first).SetNextCommand(uint32(len(first)))
			h := smb2.HeaderFields{Command: smb2.CommandLogoff, MessageID: c.NextMessageID() + 1, CreditCharge: 1, SessionID: other.ID}
			second := (&smb2.Empty{}).AppendTo(smb2.AppendHeader(nil, &h))
			if err := c.SendFrame(s.SealMessage(append(first, second...), s.ID)); err != nil {
				return err
			}
			return ends(c)
		})
	}},
	{"encrypted related request without one before", "3.3.5.2.1.1", sealedBytes(func(s *client.Session) []byte {
		m := echo(s, 1)
		smb2.Header(m).SetFlags(smb2.FlagRelatedOperations)
		return m
	})},
}

func echo(s *client.Session, ahead uint64) []byte {
	h := smb2.HeaderFields{Command: smb2.CommandEcho, MessageID: s.Conn.NextMessageID() + ahead - 1, CreditCharge: 1, SessionID: s.ID}
	return (&smb2.Empty{}).AppendTo(smb2.AppendHeader(nil, &h))
}

// sealed spoils the frame of an encrypted request and expects the end.
func sealed(change func([]byte) []byte) func(Target) error {
	return func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			if !tree.Session.CanEncrypt() {
				return nil
			}
			r, err := c.Call(&client.Request{Tree: tree, Body: client.OpenDirectory(""), Protect: client.ProtectEncrypt, SpoilFrame: change})
			if r != nil {
				return fmt.Errorf("answered by %s, %w", r.Header, err)
			}
			return ends(c)
		})
	}
}

// sealedBytes encrypts bytes rightly and expects the end.
func sealedBytes(msg func(*client.Session) []byte) func(Target) error {
	return func(t Target) error {
		return t.session(func(c *client.Conn, s *client.Session) error {
			if !s.CanEncrypt() {
				return nil
			}
			if err := c.SendFrame(s.SealMessage(msg(s), s.ID)); err != nil {
				return err
			}
			return ends(c)
		})
	}
}
