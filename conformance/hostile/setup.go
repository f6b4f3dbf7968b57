package hostile

import (
	"bytes"
	"fmt"

	"gabion/conformance/client"
	"gabion/protocol/ntlm"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// refuses checks that nobody was logged on and nothing goes on: an error, some of
// which security packages give the severity of a warning, or the end of the connection.
func refuses(c *client.Conn, r *client.Response, err error) error {
	if r != nil && !r.Status().IsSuccess() && r.Status() != ntstatus.MoreProcessingRequired {
		return nil
	}
	return endsOrGets(c, r, err)
}

// setupCases are about SESSION_SETUP.
var setupCases = []Case{
	{"no token", "3.3.5.5", token(nil)},
	{"garbage token", "3.3.5.5", token(bytes.Repeat([]byte{0xA5}, 300))},
	{"64 KiB of token", "3.3.5.5", token(bytes.Repeat([]byte{0x60}, 65535))},
	{"nested ASN.1", "3.3.5.5", token(nested(4000))},
	{"ASN.1 length lies", "3.3.5.5", token([]byte{0x60, 0x84, 0xFF, 0xFF, 0xFF, 0xFF, 6, 6, 0x2B, 6, 1, 5, 5, 2})},
	{"ASN.1 indefinite length", "3.3.5.5", token([]byte{0x60, 0x80, 6, 6, 0x2B, 6, 1, 5, 5, 2, 0, 0})},
	{"AUTHENTICATE without a CHALLENGE", "3.3.5.5", token((&ntlm.Authenticate{User: "x", NTResponse: make([]byte, 80)}).Encode())},
	{"CHALLENGE from a client", "3.3.5.5", token((&ntlm.Challenge{}).Encode())},
	{"NTLM NEGOTIATE cut off", "3.3.5.5", token((&ntlm.Negotiate{Flags: 1}).Encode()[:13])},
	{"AUTHENTICATE with fields beyond it", "3.3.5.5", second(func(msg []byte) []byte {
		for at := 12; at < 60; at += 8 {
			msg = put32(put16(msg, at, 0xFFFF), at+4, 0xFFFFFFF0)
		}
		return msg
	})},
	{"AUTHENTICATE cut off", "3.3.5.5", second(func(msg []byte) []byte { return msg[:40] })},
	{"AUTHENTICATE twice as NEGOTIATE", "3.3.5.5", second(func([]byte) []byte { return (&ntlm.Negotiate{Flags: 1}).Encode() })},
	{"SecurityBufferOffset lies", "3.3.5.2.6", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Body: &smb2.SessionSetupRequest{SecurityBuffer: []byte("token")},
				Spoil: func(b []byte) []byte { return put16(b, bodyAt+12, 0xFFF0) }})
			return endsOrGets(c, r, err, ntstatus.InvalidParameter)
		})
	}},
	{"binding a session that is not there", "3.3.5.5", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{SessionID: 0xDEAD, Flags: smb2.FlagSigned},
				Body: &smb2.SessionSetupRequest{Flags: smb2.SessionFlagBinding, SecurityBuffer: []byte("token")}})
			return endsOrGets(c, r, err, ntstatus.UserSessionDeleted, ntstatus.RequestNotAccepted)
		})
	}},
	{"command of a session that is not there", "3.3.5.2.9", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{SessionID: 0xDEAD}, Body: &smb2.TreeConnectRequest{Path: []byte{'x', 0}}})
			return gets(r, err, ntstatus.UserSessionDeleted)
		})
	}},
	{"tree connect in the middle of authentication", "3.3.5.2.9", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			s, err := half(c)
			if err != nil {
				return err
			}
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{SessionID: s}, Body: &smb2.TreeConnectRequest{Path: []byte{'x', 0}}})
			return refuses(c, r, err)
		})
	}},
	{"logoff in the middle of authentication", "3.3.5.6", func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			s, err := half(c)
			if err != nil {
				return err
			}
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{SessionID: s}, Body: &smb2.Empty{Of: smb2.CommandLogoff}})
			if r != nil && r.Status() == ntstatus.Success {
				return nil
			}
			return refuses(c, r, err)
		})
	}},
	{"PreviousSessionId of somebody else", "3.3.5.5.3", func(t Target) error {
		return t.tree(func(_ *client.Conn, tree *client.Tree) error {
			// An anonymous logon must not be able to end the session of a user.
			err := t.negotiated(func(c *client.Conn) error {
				_, err := c.SessionSetup(client.NTLM(client.Credentials{}), client.Setup{PreviousSessionID: tree.Session.ID})
				if _, known := client.Status(err); !known {
					return err
				}
				return nil
			})
			if err != nil {
				return err
			}
			f, err := tree.Create(client.OpenDirectory(""))
			if err != nil {
				return fmt.Errorf("the session is gone: %w", err)
			}
			return f.Close()
		})
	}},
}

// token sends one token as a first SESSION_SETUP and expects a refusal.
func token(b []byte) func(Target) error {
	return func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Body: &smb2.SessionSetupRequest{SecurityMode: 1, SecurityBuffer: b}})
			if r != nil && r.Status() == ntstatus.MoreProcessingRequired && len(b) == 0 {
				return nil // an empty token asks for the server's
			}
			return refuses(c, r, err)
		})
	}
}

// half begins an authentication and returns the session's id.
func half(c *client.Conn) (uint64, error) {
	first := (&ntlm.Negotiate{Flags: 0xE2088297}).Encode()
	r, err := c.Call(&client.Request{Body: &smb2.SessionSetupRequest{SecurityMode: 1, SecurityBuffer: first}})
	if err := gets(r, err, ntstatus.MoreProcessingRequired); err != nil {
		return 0, err
	}
	return r.Header.SessionID(), nil
}

// second spoils the second message of an NTLM exchange and expects a refusal.
func second(change func([]byte) []byte) func(Target) error {
	return func(t Target) error {
		return t.negotiated(func(c *client.Conn) error {
			s, err := half(c)
			if err != nil {
				return err
			}
			msg := (&ntlm.Authenticate{Flags: 0xE2088297, User: t.User, NTResponse: make([]byte, 80), SessionKey: make([]byte, 16)}).Encode()
			r, err := c.Call(&client.Request{Header: smb2.HeaderFields{SessionID: s},
				Body: &smb2.SessionSetupRequest{SecurityMode: 1, SecurityBuffer: change(msg)}})
			return refuses(c, r, err)
		})
	}
}

// nested is n sequences, each inside the one before.
func nested(n int) []byte {
	var b []byte
	for range n {
		head := []byte{0x30, 0x82, byte(len(b) >> 8), byte(len(b))}
		b = append(head, b...)
	}
	return b
}
