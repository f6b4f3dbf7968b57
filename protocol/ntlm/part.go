package ntlm

// SealPart encrypts part, which lies within whole, and returns the signature of
// whole as it was before (GSS_WrapEx with parts that are signed but not encrypted,
// MS-NLMP 3.4.6; MS-RPCE 3.3.1.5.2.2 seals a request's stub and signs its header).
func (s *Security) SealPart(whole, part []byte) [SignatureLen]byte {
	plain := append([]byte(nil), whole...)
	s.out.seal.XORKeyStream(part, part)
	return s.out.signature(plain, s.keyExch)
}

// UnsealPart decrypts part, which lies within whole, and reports whether the
// signature of whole is right.
func (s *Security) UnsealPart(whole, part, signature []byte) bool {
	s.in.seal.XORKeyStream(part, part)
	return s.Verify(whole, signature)
}

// Restart begins the key streams again but goes on counting: what SPNEGO wants
// between its mechListMIC and the first message (MS-SPNG 3.3.5.1).
func (s *Security) Restart(flags uint32, key [16]byte, client bool) {
	out, in := s.out.seq, s.in.seq
	*s = *NewSecurity(flags, key, client)
	s.out.seq, s.in.seq = out, in
}
