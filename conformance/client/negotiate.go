package client

import (
	"crypto/rand"
	"errors"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/protocol/smbcrypto"
)

// AllDialects is what a Negotiation offers by default.
var AllDialects = []smb2.Dialect{smb2.Dialect202, smb2.Dialect210, smb2.Dialect300, smb2.Dialect302, smb2.Dialect311}

// AllCapabilities is what a Negotiation claims by default.
const AllCapabilities = smb2.CapDFS | smb2.CapLeasing | smb2.CapLargeMTU | smb2.CapMultiChannel |
	smb2.CapPersistentHandles | smb2.CapDirectoryLeasing | smb2.CapEncryption

// Negotiation is what to say in NEGOTIATE. The zero value offers everything this
// client can do.
type Negotiation struct {
	Dialects     []smb2.Dialect
	Capabilities *smb2.Capabilities
	SecurityMode *smb2.SecurityMode // SigningEnabled if nil
	ClientGUID   dtyp.GUID          // random if zero
	// For 3.1.1: the algorithms offered, nil for all, empty for no context at all.
	Ciphers []smb2.Cipher
	Signing []smb2.SigningAlgorithm
	// Contexts, if not nil, replaces the context list.
	Contexts []smb2.NegotiateContext
}

// contexts builds the list for 3.1.1.
func (n *Negotiation) contexts() []smb2.NegotiateContext {
	if n.Contexts != nil {
		return n.Contexts
	}
	salt := make([]byte, 32)
	_, _ = rand.Read(salt)
	list := []smb2.NegotiateContext{&smb2.PreauthIntegrityCapabilities{HashAlgorithms: []smb2.HashAlgorithm{smb2.HashSHA512}, Salt: salt}}
	ciphers := n.Ciphers
	if ciphers == nil {
		ciphers = []smb2.Cipher{smb2.CipherAES128GCM, smb2.CipherAES128CCM, smb2.CipherAES256GCM, smb2.CipherAES256CCM}
	}
	if len(ciphers) > 0 {
		list = append(list, &smb2.EncryptionCapabilities{Ciphers: ciphers})
	}
	signing := n.Signing
	if signing == nil {
		signing = []smb2.SigningAlgorithm{smb2.SigningAESGMAC, smb2.SigningAESCMAC, smb2.SigningHMACSHA256}
	}
	if len(signing) > 0 {
		list = append(list, &smb2.SigningCapabilities{Algorithms: signing})
	}
	return list
}

// Request builds the NEGOTIATE body that n describes.
func (n *Negotiation) Request() *smb2.NegotiateRequest {
	m := &smb2.NegotiateRequest{
		SecurityMode: smb2.SigningEnabled, Capabilities: AllCapabilities, ClientGUID: n.ClientGUID, Dialects: n.Dialects,
	}
	if m.Dialects == nil {
		m.Dialects = AllDialects
	}
	if n.Capabilities != nil {
		m.Capabilities = *n.Capabilities
	}
	if n.SecurityMode != nil {
		m.SecurityMode = *n.SecurityMode
	}
	if m.ClientGUID.IsZero() {
		m.ClientGUID = dtyp.NewGUID()
	}
	if m.HasDialect(smb2.Dialect311) {
		m.Contexts, m.ContextCount = smb2.AppendNegotiateContexts(nil, n.contexts()...)
	}
	return m
}

// Negotiate sends NEGOTIATE and keeps what was agreed.
func (c *Conn) Negotiate(n Negotiation) error { return c.NegotiateWith(n.Request()) }

// NegotiateWith is Negotiate with a body built by hand.
func (c *Conn) NegotiateWith(m *smb2.NegotiateRequest) error {
	c.Sent = *m
	c.ClientGUID = m.ClientGUID
	p, err := c.Start(&Request{Body: m})
	if err != nil {
		return err
	}
	r, err := p.Wait()
	if err != nil {
		return err
	}
	return c.negotiated(p.Sent, r)
}

// NegotiateSMB1 sends the multi-protocol negotiate of SMB1 ([MS-SMB2] 3.2.4.2.2.1).
// With the wildcard dialect as answer a proper Negotiate has to follow, with message
// id 1 because this one used 0.
func (c *Conn) NegotiateSMB1(dialects ...string) error {
	p := &Pending{conn: c, request: &Request{unverified: true}, interim: make(chan *Response, 1), final: make(chan *Response, 1)}
	c.mu.Lock()
	c.pending[0] = p
	c.nextID = 1
	c.credits--
	c.mu.Unlock()
	if err := c.SendFrame(smb2.AppendSMB1Negotiate(nil, dialects...)); err != nil {
		return err
	}
	r, err := p.Wait()
	if err != nil {
		return err
	}
	return c.negotiated(nil, r)
}

// negotiated reads a NEGOTIATE response; sent is the request, nil if it was SMB1's.
func (c *Conn) negotiated(sent []byte, r *Response) error {
	if s := r.Status(); s != ntstatus.Success {
		return s
	}
	if err := r.Decode(&c.Response); err != nil {
		return err
	}
	c.Dialect = c.Response.Dialect
	c.SigningAlgorithm = smbcrypto.DefaultSigning(c.Dialect)
	c.Cipher = 0
	if c.Dialect.Is3x() && c.Response.Capabilities&smb2.CapEncryption != 0 {
		c.Cipher = smb2.CipherAES128CCM
	}
	if c.Dialect != smb2.Dialect311 {
		return nil
	}
	c.Cipher = 0
	c.preauth.Update(sent)
	c.preauth.Update(r.Msg)
	return c.agreed()
}

// agreed reads the contexts of a 3.1.1 response.
func (c *Conn) agreed() error {
	hash := false
	list := c.Response.NegotiateContexts()
	for list.Next() {
		switch list.Type {
		case smb2.NegotiatePreauthIntegrity:
			var p smb2.PreauthIntegrityCapabilities
			if err := p.Decode(list.Data); err != nil || len(p.HashAlgorithms) != 1 || p.HashAlgorithms[0] != smb2.HashSHA512 {
				return errors.New("client: bad preauthentication integrity context")
			}
			hash = true
		case smb2.NegotiateEncryption:
			var e smb2.EncryptionCapabilities
			if err := e.Decode(list.Data); err != nil || len(e.Ciphers) != 1 {
				return errors.New("client: bad encryption context")
			}
			c.Cipher = e.Ciphers[0]
		case smb2.NegotiateSigning:
			var s smb2.SigningCapabilities
			if err := s.Decode(list.Data); err != nil || len(s.Algorithms) != 1 {
				return errors.New("client: bad signing context")
			}
			c.SigningAlgorithm = s.Algorithms[0]
		}
	}
	if !hash {
		return errors.New("client: no preauthentication integrity context")
	}
	return list.Err()
}
