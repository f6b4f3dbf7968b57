package server

import (
	"crypto/rand"
	"crypto/sha512"
	"errors"
	"fmt"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// multiProtocol answers an SMB_COM_NEGOTIATE that offers SMB2 [MS-SMB2] 3.3.5.3;
// SMB1 itself is not spoken.
func (c *conn) multiProtocol(frame []byte) error {
	if c.dialect != 0 || c.wildcard {
		return errors.New("SMB1 after negotiation")
	}
	var m smb2.SMB1Negotiate
	if err := m.Decode(frame); err != nil {
		return err
	}
	s := c.server
	var dialect smb2.Dialect
	switch {
	case m.HasWildcard && s.cfg.MaxDialect >= smb2.Dialect210:
		dialect = smb2.DialectWildcard
	case m.Has202 && s.cfg.MinDialect <= smb2.Dialect202:
		dialect = smb2.Dialect202
	default:
		return errors.New("SMB1 client offers no dialect of SMB2")
	}
	c.mu.Lock()
	// [MS-SMB2] 3.3.5.2.3: the message id counts as 0.
	ok := c.window.consume(0, 1)
	c.mu.Unlock()
	if !ok {
		return errors.New("SMB1 negotiate after other messages")
	}
	if dialect == smb2.Dialect202 {
		c.dialect = dialect
	} else {
		c.wildcard = true
	}
	c.multiCredit = dialect == smb2.DialectWildcard
	c.maxIO = s.maxIO(dialect)
	h := smb2.HeaderFields{Command: smb2.CommandNegotiate, Flags: smb2.FlagServerToRedir, Credits: uint16(c.grant(1, 1))}
	resp := s.negotiateResponse(c, dialect)
	b := newBuffer(headroom + smb2Header + 512 + len(resp.SecurityBuffer) + trailer)
	smb2.PutHeader(b.mem[headroom:], &h)
	const at = headroom + smb2Header
	body := resp.AppendTo(b.mem[at:at:len(b.mem)])
	b.data = b.mem[headroom : at+len(body)]
	b.charge = 1
	ch := &chain{conn: c, first: b, tail: b}
	c.out.add(ch.take())
	return nil
}

func (s *Server) maxIO(d smb2.Dialect) uint32 {
	if d == smb2.Dialect202 {
		return 64 << 10
	}
	return uint32(s.limits.MaxIO)
}

// negotiateResponse is what all NEGOTIATE responses have in common [MS-SMB2] 3.3.5.4.
func (s *Server) negotiateResponse(c *conn, dialect smb2.Dialect) smb2.NegotiateResponse {
	mode := smb2.SigningEnabled
	if s.cfg.Signing == SigningRequired {
		mode |= smb2.SigningRequired
	}
	return smb2.NegotiateResponse{
		SecurityMode:    mode,
		Dialect:         dialect,
		ServerGUID:      s.cfg.GUID,
		Capabilities:    s.capabilities(dialect, c.clientCaps),
		MaxTransactSize: c.maxIO,
		MaxReadSize:     c.maxIO,
		MaxWriteSize:    c.maxIO,
		SystemTime:      dtyp.FiletimeOf(time.Now()),
		SecurityBuffer:  s.cfg.Auth.Hint(),
	}
}

// wireCapabilities maps the capability table to SMB2_GLOBAL_CAP_*, and says from which
// dialect on, up to which, and whether only to a client that offers it.
var wireCapabilities = []struct {
	cap      Capability
	bit      smb2.Capabilities
	from, to smb2.Dialect
	offered  bool
}{
	{CapDFS, smb2.CapDFS, Dialect202, Dialect311, false},
	{CapLeasing, smb2.CapLeasing, Dialect210, Dialect311, false},
	{CapLargeMTU, smb2.CapLargeMTU, Dialect210, Dialect311, false},
	{CapMultiChannel, smb2.CapMultiChannel, Dialect300, Dialect311, true},
	{CapPersistentHandles, smb2.CapPersistentHandles, Dialect300, Dialect311, true},
	{CapDirectoryLeasing, smb2.CapDirectoryLeasing, Dialect300, Dialect311, true},
	// In 3.1.1 the cipher context says it.
	{CapEncryption, smb2.CapEncryption, Dialect300, Dialect302, true},
	{CapNotifications, smb2.CapNotifications, Dialect311, Dialect311, true},
}

// capabilities are what NEGOTIATE advertises to a client.
func (s *Server) capabilities(d smb2.Dialect, client smb2.Capabilities) (bits smb2.Capabilities) {
	if d == smb2.DialectWildcard {
		d = smb2.Dialect210
	}
	for _, w := range wireCapabilities {
		if s.caps.Has(w.cap) && d >= w.from && d <= w.to && (!w.offered || client&w.bit != 0) {
			bits |= w.bit
		}
	}
	return bits
}

// chooseDialect is the greatest dialect both sides speak, 0 if there is none.
func (s *Server) chooseDialect(offered []smb2.Dialect) (best smb2.Dialect) {
	for _, d := range offered {
		switch d {
		case Dialect202, Dialect210, Dialect300, Dialect302, Dialect311:
			if d > best && d >= s.cfg.MinDialect && d <= s.cfg.MaxDialect {
				best = d
			}
		}
	}
	return best
}

// negotiate is [MS-SMB2] 3.3.5.4.
func negotiate(r *request) {
	c, s := r.conn, r.conn.server
	if c.dialect != 0 {
		c.fail("second NEGOTIATE")
		r.noReply()
		return
	}
	var req smb2.NegotiateRequest
	if err := req.Decode(r.msg); err != nil || len(req.Dialects) == 0 {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	n := negotiation{
		dialect:    s.chooseDialect(req.Dialects),
		client:     req.ClientGUID,
		clientMode: req.SecurityMode,
		clientCaps: req.Capabilities,
		offered:    append([]smb2.Dialect(nil), req.Dialects...),
		signing:    smb2.SigningAESCMAC,
	}
	if n.dialect == 0 {
		r.fail(ntstatus.NotSupported)
		return
	}
	var answer contexts
	if n.dialect == Dialect311 {
		if status := n.readContexts(s, &req, &answer); status != ntstatus.Success {
			r.fail(status)
			return
		}
	}
	n.multiCredit = n.dialect != Dialect202
	n.maxIO = s.maxIO(n.dialect)
	wildcard := c.wildcard
	c.negotiation = n
	c.wildcard = wildcard
	resp := s.negotiateResponse(c, n.dialect)
	c.serverMode, c.serverCaps = resp.SecurityMode, resp.Capabilities
	c.notification = resp.Capabilities&smb2.CapNotifications != 0
	switch {
	case n.dialect == Dialect311:
		resp.Contexts, resp.ContextCount = answer.encode()
		if n.cipher != 0 {
			c.serverCaps |= smb2.CapEncryption
		}
		c.preauth = extendHash([64]byte{}, r.msg)
		r.sealed = func(reply []byte) { c.preauth = extendHash(c.preauth, reply) }
	case c.serverCaps&smb2.CapEncryption != 0:
		c.cipher = smb2.CipherAES128CCM
	}
	if n.dialect < Dialect300 {
		c.signing = smb2.SigningHMACSHA256
	}
	body := resp.AppendTo(r.reserve(512 + len(resp.SecurityBuffer) + len(resp.Contexts)))
	r.finish(ntstatus.Success, body)
}

// extendHash is one step of the preauthentication integrity hash [MS-SMB2] 3.3.5.4.
func extendHash(hash [64]byte, message []byte) (next [64]byte) {
	h := sha512.New()
	h.Write(hash[:])
	h.Write(message)
	h.Sum(next[:0])
	return next
}

// contexts are those of a NEGOTIATE response.
type contexts struct {
	preauth    bool
	encryption *smb2.EncryptionCapabilities
	signing    *smb2.SigningCapabilities
}

func (a *contexts) encode() ([]byte, uint16) {
	salt := make([]byte, 32)
	rand.Read(salt)
	list := []smb2.NegotiateContext{&smb2.PreauthIntegrityCapabilities{
		HashAlgorithms: []smb2.HashAlgorithm{smb2.HashSHA512}, Salt: salt}}
	if a.encryption != nil {
		list = append(list, a.encryption)
	}
	if a.signing != nil {
		list = append(list, a.signing)
	}
	return smb2.AppendNegotiateContexts(nil, list...)
}

// maxContexts bounds the negotiate contexts that are looked at.
const maxContexts = 64

// readContexts processes the negotiate contexts of 3.1.1. Two of one kind are an error, as
// is a short one; unknown ones and those of features that are off are ignored.
func (n *negotiation) readContexts(s *Server, req *smb2.NegotiateRequest, answer *contexts) ntstatus.Status {
	if req.ContextCount > maxContexts {
		return ntstatus.InvalidParameter
	}
	it := req.NegotiateContexts()
	for it.Next() {
		status := ntstatus.Success
		switch it.Type {
		case smb2.NegotiatePreauthIntegrity:
			status = n.readPreauth(it.Data, answer)
		case smb2.NegotiateEncryption:
			if s.caps.Has(CapEncryption) {
				status = n.readEncryption(it.Data, answer)
			}
		case smb2.NegotiateSigning:
			status = n.readSigning(it.Data, answer)
		}
		if status != ntstatus.Success {
			return status
		}
	}
	if it.Err() != nil || !answer.preauth {
		return ntstatus.InvalidParameter
	}
	return ntstatus.Success
}

func (n *negotiation) readPreauth(data []byte, answer *contexts) ntstatus.Status {
	var c smb2.PreauthIntegrityCapabilities
	if answer.preauth || c.Decode(data) != nil {
		return ntstatus.InvalidParameter
	}
	for _, h := range c.HashAlgorithms {
		answer.preauth = answer.preauth || h == smb2.HashSHA512
	}
	if !answer.preauth {
		return ntstatus.SMBNoPreauthIntegrityHashOverlap
	}
	return ntstatus.Success
}

func (n *negotiation) readEncryption(data []byte, answer *contexts) ntstatus.Status {
	var c smb2.EncryptionCapabilities
	if answer.encryption != nil || c.Decode(data) != nil {
		return ntstatus.InvalidParameter
	}
	n.cipher = chooseCipher(c.Ciphers)
	// The context is sent even when there is no common cipher.
	answer.encryption = &smb2.EncryptionCapabilities{Ciphers: []smb2.Cipher{n.cipher}}
	return ntstatus.Success
}

// chooseCipher takes the client's first GCM cipher, because machines compute it many
// times faster, else its first CCM cipher.
func chooseCipher(offered []smb2.Cipher) (cipher smb2.Cipher) {
	for _, c := range offered {
		switch c {
		case smb2.CipherAES128GCM, smb2.CipherAES256GCM:
			return c
		case smb2.CipherAES128CCM, smb2.CipherAES256CCM:
			if cipher == 0 {
				cipher = c
			}
		}
	}
	return cipher
}

func (n *negotiation) readSigning(data []byte, answer *contexts) ntstatus.Status {
	var c smb2.SigningCapabilities
	if answer.signing != nil || c.Decode(data) != nil || len(c.Algorithms) == 0 {
		return ntstatus.InvalidParameter
	}
	for _, a := range c.Algorithms {
		if a <= smb2.SigningAESGMAC {
			n.signing = a
			break
		}
	}
	answer.signing = &smb2.SigningCapabilities{Algorithms: []smb2.SigningAlgorithm{n.signing}}
	return ntstatus.Success
}

// String shows what was negotiated, for logs.
func (n *negotiation) String() string {
	return fmt.Sprintf("dialect %v cipher %v signing %v", n.dialect, n.cipher, n.signing)
}
