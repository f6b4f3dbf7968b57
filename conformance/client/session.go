package client

import (
	"errors"
	"fmt"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/protocol/smbcrypto"
)

// Session is an authenticated session on one connection. Its channels on other
// connections are Sessions of their own that share ID and encryption keys.
type Session struct {
	Conn  *Conn
	ID    uint64
	Flags smb2.SessionFlags
	// Sign and Encrypt are what requests of the session get by default. Login sets
	// Sign unless the session is anonymous or a guest's, and Encrypt as the server asks.
	Sign, Encrypt bool
	// SigningRequired makes an unsigned response an error.
	SigningRequired bool
	// Key is Session.SessionKey, ApplicationKey what RPC derives from.
	Key            []byte
	ApplicationKey [16]byte

	signer *smbcrypto.Signer
	keys   keys
}

// Setup says what SESSION_SETUP is to contain beyond its tokens.
type Setup struct {
	Flags             smb2.SessionSetupFlags
	SecurityMode      smb2.SecurityMode // SigningEnabled if zero
	Capabilities      smb2.Capabilities
	PreviousSessionID uint64
	// Existing is the session to authenticate again, Binding the one to bind.
	Existing, Binding *Session
	// First, if set, is told each response before the exchange goes on, and may end it.
	Each func(*Response) error
}

// Login authenticates by NTLMv2.
func (c *Conn) Login(cr Credentials) (*Session, error) { return c.SessionSetup(NTLM(cr), Setup{}) }

// Bind makes s available on another connection ([MS-SMB2] 3.2.4.2.3.3).
func (c *Conn) Bind(s *Session, a Authenticator) (*Session, error) {
	return c.SessionSetup(a, Setup{Flags: smb2.SessionFlagBinding, Binding: s})
}

// Reauthenticate authenticates an existing session again ([MS-SMB2] 3.2.4.2.3.1).
func (s *Session) Reauthenticate(a Authenticator) error {
	_, err := s.Conn.SessionSetup(a, Setup{Existing: s})
	return err
}

// SessionSetup runs the exchange of SESSION_SETUP.
func (c *Conn) SessionSetup(a Authenticator, o Setup) (*Session, error) {
	preauth := c.preauth
	s := &Session{Conn: c}
	switch {
	case o.Existing != nil:
		s = o.Existing
	case o.Binding != nil:
		// Until the channel has its own key it signs with the session's.
		b := o.Binding
		s = &Session{Conn: c, ID: b.ID, Flags: b.Flags, Sign: true, Encrypt: b.Encrypt, SigningRequired: b.SigningRequired,
			Key: b.Key, ApplicationKey: b.ApplicationKey, signer: b.signer, keys: b.keys}
	}
	if o.SecurityMode == 0 {
		o.SecurityMode = smb2.SigningEnabled
	}
	var token []byte
	for {
		out, err := a.Step(token)
		if err != nil {
			return nil, err
		}
		r, err := c.setupStep(s, out, o, &preauth)
		if err != nil {
			return nil, err
		}
		if r.Status() != ntstatus.Success && r.Status() != ntstatus.MoreProcessingRequired {
			return nil, r.Status()
		}
		var body smb2.SessionSetupResponse
		if err := r.Decode(&body); err != nil {
			return nil, err
		}
		s.ID = r.Header.SessionID()
		if r.Status() == ntstatus.Success {
			return s, c.established(s, a, o, r, &body, &preauth)
		}
		token = body.SecurityBuffer
	}
}

// setupStep sends one token and hashes what goes to and fro ([MS-SMB2] 3.2.5.3).
func (c *Conn) setupStep(s *Session, token []byte, o Setup, preauth *smbcrypto.Preauth) (*Response, error) {
	req := &Request{
		Body: &smb2.SessionSetupRequest{Flags: o.Flags, SecurityMode: uint8(o.SecurityMode), Capabilities: o.Capabilities,
			PreviousSessionID: o.PreviousSessionID, SecurityBuffer: token},
		Session: s, unverified: true,
	}
	if o.Binding != nil {
		req.Protect = ProtectSign
	}
	p, err := c.Start(req)
	if err != nil {
		return nil, err
	}
	r, err := p.Wait()
	if err != nil {
		return nil, err
	}
	preauth.Update(p.Sent)
	if r.Status() == ntstatus.MoreProcessingRequired {
		preauth.Update(r.Msg)
	}
	if o.Each != nil {
		err = o.Each(r)
	}
	return r, err
}

// established derives the keys and checks the last response with them.
func (c *Conn) established(s *Session, a Authenticator, o Setup, r *Response, body *smb2.SessionSetupResponse, preauth *smbcrypto.Preauth) error {
	if m, ok := a.(Mutual); ok {
		if err := m.Finish(body.SecurityBuffer); err != nil {
			return err
		}
	}
	if o.Existing != nil {
		s.Flags = body.SessionFlags
		return nil // keys stay ([MS-SMB2] 3.2.5.3.2)
	}
	full := a.Key()
	key := smbcrypto.SessionKey(full)
	k := smbcrypto.Derive(c.Dialect, c.Cipher, full, preauth)
	signer, err := smbcrypto.NewSigner(c.SigningAlgorithm, k.Signing)
	if err != nil {
		return err
	}
	s.Flags = body.SessionFlags
	nobody := s.Flags&(smb2.SessionFlagIsGuest|smb2.SessionFlagIsNull) != 0
	if !nobody {
		s.signer = signer
	}
	if o.Binding == nil {
		s.Key, s.ApplicationKey = key[:], k.Application
		s.Sign = !nobody
		s.SigningRequired = !nobody && c.Response.SecurityMode&smb2.SigningRequired != 0
		s.Encrypt = s.Flags&smb2.SessionFlagEncryptData != 0
		if c.Cipher != 0 && !nobody {
			if s.keys.seal, err = smbcrypto.NewSealer(c.Cipher, k.ClientToServer); err != nil {
				return err
			}
			if s.keys.open, err = smbcrypto.NewSealer(c.Cipher, k.ServerToClient); err != nil {
				return err
			}
		}
	}
	c.mu.Lock()
	c.sessions[s.ID] = s
	c.mu.Unlock()
	if nobody {
		return nil
	}
	return checkFinal(c, r, signer)
}

// checkFinal verifies the response that ends the exchange: in 3.1.1 its signature
// protects everything before it ([MS-SMB2] 3.2.5.3.1).
func checkFinal(c *Conn, r *Response, signer *smbcrypto.Signer) error {
	if !r.Header.IsSigned() {
		if c.Dialect == smb2.Dialect311 {
			return fmt.Errorf("%w: last SESSION_SETUP response", ErrUnsigned)
		}
		return nil
	}
	var scratch smbcrypto.Scratch
	if !signer.Verify(r.Msg, &scratch) {
		return fmt.Errorf("%w: last SESSION_SETUP response", ErrSignature)
	}
	r.Verified = true
	return nil
}

// Clone returns a copy of the session for a test to spoil.
func (s *Session) Clone() *Session {
	c := *s
	return &c
}

// CanEncrypt reports that encryption keys exist.
func (s *Session) CanEncrypt() bool { return s.keys.seal != nil }

// Call sends a request of the session.
func (s *Session) Call(m, out smb2.Message) (*Response, error) {
	return s.Conn.do(&Request{Body: m, Session: s}, out)
}

// Logoff ends the session.
func (s *Session) Logoff() error {
	_, err := s.Call(&smb2.Empty{Of: smb2.CommandLogoff}, nil)
	return err
}

// Echo asks for a sign of life.
func (c *Conn) Echo() error {
	_, err := c.do(&Request{Header: smb2.HeaderFields{Command: smb2.CommandEcho}, Body: &smb2.Empty{Of: smb2.CommandEcho}}, nil)
	return err
}

// Status returns the server's status that err is, Success for nil, and false for
// errors that are not a status.
func Status(err error) (ntstatus.Status, bool) {
	if err == nil {
		return ntstatus.Success, true
	}
	var s ntstatus.Status
	ok := errors.As(err, &s)
	return s, ok
}

// SignMessage signs an encoded message with the channel's key.
func (s *Session) SignMessage(msg []byte) {
	var scratch smbcrypto.Scratch
	s.signer.Sign(msg, &scratch)
}

// SealMessage returns a frame that holds msg, any bytes, encrypted with the session's
// key, under the transform session id it is given.
func (s *Session) SealMessage(msg []byte, transformSessionID uint64) []byte {
	frame := append(make([]byte, smb2.TransformHeaderSize, smb2.TransformHeaderSize+len(msg)+smbcrypto.Overhead), msg...)
	s.keys.seal.Seal(frame, transformSessionID)
	return frame
}
