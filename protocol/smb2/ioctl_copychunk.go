package smb2

// ResumeKey names a source file of a server-side copy ([MS-SMB2] 2.2.32.3).
type ResumeKey [24]byte

// SrvRequestResumeKey is the output of FSCTL_SRV_REQUEST_RESUME_KEY
// ([MS-SMB2] 2.2.32.3).
type SrvRequestResumeKey struct {
	ResumeKey ResumeKey
	Context   []byte // ContextLength MUST be 0; aliases the source after Decode
}

// Decode reads the output buffer.
func (r *SrvRequestResumeKey) Decode(b []byte) error {
	const name = "SRV_REQUEST_RESUME_KEY"
	if len(b) < 28 {
		return malformed(name, "truncated")
	}
	n := le.Uint32(b[24:])
	if uint64(n) > uint64(len(b)-28) {
		return malformed(name, "ContextLength")
	}
	r.ResumeKey, r.Context = ResumeKey(b[:24]), b[28:28+n]
	return nil
}

// AppendTo appends the output buffer, with four bytes of Context beyond
// ContextLength: clients expect the 32 bytes that a structure with an empty Context
// occupies when it is aligned.
func (r *SrvRequestResumeKey) AppendTo(b []byte) []byte {
	b = append(b, r.ResumeKey[:]...)
	b = le.AppendUint32(b, uint32(len(r.Context)))
	if len(r.Context) == 0 {
		return append(b, 0, 0, 0, 0)
	}
	return append(b, r.Context...)
}

// SrvCopychunk is one range ([MS-SMB2] 2.2.31.1.1).
type SrvCopychunk struct {
	SourceOffset uint64
	TargetOffset uint64
	Length       uint32
	Reserved     uint32
}

// SrvCopychunkCopy is the input of FSCTL_SRV_COPYCHUNK and
// FSCTL_SRV_COPYCHUNK_WRITE ([MS-SMB2] 2.2.31.1).
type SrvCopychunkCopy struct {
	SourceKey ResumeKey
	// ChunkCount is as received; AppendTo sends len(Chunks).
	ChunkCount uint32
	Chunks     []SrvCopychunk
}

const (
	copychunkFixed = 32
	copychunkSize  = 24
)

// DecodeHead reads SourceKey and ChunkCount alone, so that a server can refuse a
// count before it looks at the ranges ([MS-SMB2] 3.3.5.15.6).
func (c *SrvCopychunkCopy) DecodeHead(b []byte) error {
	if len(b) < copychunkFixed {
		return malformed("SRV_COPYCHUNK_COPY", "truncated")
	}
	c.SourceKey, c.ChunkCount, c.Chunks = ResumeKey(b[:24]), le.Uint32(b[24:]), c.Chunks[:0]
	return nil
}

// Decode reads the input buffer into the capacity of Chunks.
func (c *SrvCopychunkCopy) Decode(b []byte) error {
	if err := c.DecodeHead(b); err != nil {
		return err
	}
	b = b[copychunkFixed:]
	if uint64(c.ChunkCount)*copychunkSize > uint64(len(b)) {
		return malformed("SRV_COPYCHUNK_COPY", "ChunkCount")
	}
	for n := c.ChunkCount; n > 0; n, b = n-1, b[copychunkSize:] {
		c.Chunks = append(c.Chunks, SrvCopychunk{le.Uint64(b), le.Uint64(b[8:]), le.Uint32(b[16:]), le.Uint32(b[20:])})
	}
	return nil
}

// AppendTo appends the input buffer.
func (c *SrvCopychunkCopy) AppendTo(b []byte) []byte {
	b = append(b, c.SourceKey[:]...)
	b = le.AppendUint64(b, uint64(len(c.Chunks)))
	for _, k := range c.Chunks {
		b = le.AppendUint64(b, k.SourceOffset)
		b = le.AppendUint64(b, k.TargetOffset)
		b = le.AppendUint32(b, k.Length)
		b = le.AppendUint32(b, k.Reserved)
	}
	return b
}

// SrvCopychunkResponse is the output of a server-side copy; with
// STATUS_INVALID_PARAMETER the fields are the server's limits ([MS-SMB2] 2.2.32.1).
type SrvCopychunkResponse struct {
	ChunksWritten     uint32
	ChunkBytesWritten uint32
	TotalBytesWritten uint32
}

// Decode reads the output buffer.
func (r *SrvCopychunkResponse) Decode(b []byte) error {
	if len(b) < 12 {
		return malformed("SRV_COPYCHUNK_RESPONSE", "truncated")
	}
	*r = SrvCopychunkResponse{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:])}
	return nil
}

// AppendTo appends the output buffer.
func (r *SrvCopychunkResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, r.ChunksWritten)
	b = le.AppendUint32(b, r.ChunkBytesWritten)
	return le.AppendUint32(b, r.TotalBytesWritten)
}
