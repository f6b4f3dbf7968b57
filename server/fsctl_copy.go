package server

import (
	"encoding/binary"
	"math"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/store"
)

// The limits of one server-side copy, as Windows has them: ServerSideCopyMaxNumberofChunks,
// ServerSideCopyMaxChunkSize and ServerSideCopyMaxDataSize of [MS-SMB2] 3.3.3.
const (
	maxChunks    = 256
	maxChunk     = 1 << 20
	maxCopyBytes = 16 << 20
)

// resumeKey is [MS-SMB2] 3.3.5.15.5. The key is the FileId: it names the open and no
// other, and it means nothing outside its session.
func (c *control) resumeKey() {
	var out smb2.SrvRequestResumeKey
	binary.LittleEndian.PutUint64(out.ResumeKey[:], c.r.open.id.Persistent)
	binary.LittleEndian.PutUint64(out.ResumeKey[8:], c.r.open.id.Volatile)
	b := out.AppendTo(nil)
	if len(b) > c.room() {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.ok(b)
}

// source takes the open that a FileId names for the time of a copy. The caller
// releases it.
func (c *control) source(id smb2.FileID) (*open, *file) {
	o := c.r.server().opens.find(id)
	if o == nil || o.session != c.r.session {
		return nil, nil
	}
	f, ok := o.local.(*file)
	if !ok || f.disk != nil || !o.hold() {
		return nil, nil
	}
	return o, f
}

// copychunk is [MS-SMB2] 3.3.5.15.6.
func (c *control) copychunk() {
	var req smb2.SrvCopychunkCopy
	if req.DecodeHead(c.req.Input) != nil {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	o, src := c.source(smb2.FileID{
		Persistent: binary.LittleEndian.Uint64(req.SourceKey[:]),
		Volatile:   binary.LittleEndian.Uint64(req.SourceKey[8:]),
	})
	if src == nil {
		c.fail(ntstatus.ObjectNameNotFound)
		return
	}
	defer o.release()
	const responseSize = 12
	if c.room() < responseSize {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	if !validChunks(&req, c.req.Input) {
		// 3.3.5.15.6.2: the answer tells the limits.
		c.copied(ntstatus.InvalidParameter, smb2.SrvCopychunkResponse{
			ChunksWritten: maxChunks, ChunkBytesWritten: maxChunk, TotalBytesWritten: maxCopyBytes})
		return
	}
	if !src.granted(dtyp.FileReadData|dtyp.FileExecute) || !c.f.granted(dtyp.FileWriteData|dtyp.FileAppendData) ||
		c.req.CtlCode == uint32(fscc.FsctlSrvCopychunk) && !c.f.granted(dtyp.FileReadData) {
		c.fail(ntstatus.AccessDenied)
		return
	}
	c.copyChunks(src, req.Chunks)
}

// validChunks checks the ranges against the limits.
func validChunks(req *smb2.SrvCopychunkCopy, input []byte) bool {
	if req.ChunkCount > maxChunks || req.Decode(input) != nil {
		return false
	}
	total := 0
	for _, k := range req.Chunks {
		total += int(k.Length)
		if k.Length == 0 || k.Length > maxChunk || total > maxCopyBytes || k.TargetOffset > math.MaxInt64 {
			return false
		}
	}
	return true
}

// copyChunks copies the ranges in order until one fails: 3.3.5.15.6.1.
func (c *control) copyChunks(src *file, chunks []smb2.SrvCopychunk) {
	var resp smb2.SrvCopychunkResponse
	var last store.Pos
	status := ntstatus.Success
	for _, k := range chunks {
		n, pos, st := c.copyChunk(src, &k)
		last = max(last, pos)
		resp.TotalBytesWritten += uint32(n)
		if st != ntstatus.Success {
			resp.ChunkBytesWritten = uint32(n)
			status = st
			break
		}
		resp.ChunksWritten++
	}
	if status != ntstatus.Success {
		c.copied(status, resp)
		return
	}
	c.durable(last, ntstatus.Success, resp.AppendTo(nil))
}

// copyChunk copies one range, which must lie within the source: the status for one that
// does not is not in the specification, but is what Windows says.
func (c *control) copyChunk(src *file, k *smb2.SrvCopychunk) (int64, store.Pos, ntstatus.Status) {
	i, status := src.obj.Info()
	if status != ntstatus.Success {
		return 0, 0, status
	}
	if k.SourceOffset > uint64(i.Stream.Size) || uint64(k.Length) > uint64(i.Stream.Size)-k.SourceOffset {
		return 0, 0, ntstatus.InvalidViewSize
	}
	return c.f.obj.CopyRange(src.obj, int64(k.SourceOffset), int64(k.TargetOffset), int64(k.Length))
}

// copied answers with SRV_COPYCHUNK_RESPONSE and an error.
func (c *control) copied(status ntstatus.Status, resp smb2.SrvCopychunkResponse) {
	c.r.respondIoctl(status, &c.req, resp.AppendTo(nil))
}

// duplicateExtents is [MS-SMB2] 3.3.5.15.17, [MS-FSA] 2.1.5.10.4.
func (c *control) duplicateExtents() {
	var x fscc.DuplicateExtentsData
	if x.Decode(c.req.Input) != nil {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.duplicate(x.SourceFileID, x.SourceFileOffset, x.TargetFileOffset, x.ByteCount)
}

// duplicateExtentsEx is [MS-SMB2] 3.3.5.15.18. A range is one record of the store, so that
// every duplication is atomic, DUPLICATE_EXTENTS_DATA_EX_SOURCE_ATOMIC or not.
func (c *control) duplicateExtentsEx() {
	const structureSize = 0x30
	var x fscc.DuplicateExtentsDataEx
	// Its StructureSize is that without Flags and Reserved, which a client may leave out.
	in := c.req.Input
	if n := len(in); n >= structureSize && n < fscc.DuplicateExtentsDataExSize {
		in = append(append([]byte(nil), in...), make([]byte, fscc.DuplicateExtentsDataExSize-n)...)
	}
	if x.Decode(in) != nil {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	// [MS-FSA] 2.1.5.10.5; other flags are ignored ([MS-FSCC] 2.3.9.2).
	if x.StructureSize != structureSize {
		c.fail(ntstatus.NotSupported)
		return
	}
	c.duplicate(x.SourceFileID, x.SourceFileOffset, x.TargetFileOffset, x.ByteCount)
}

func (c *control) duplicate(id [16]byte, from, to, n int64) {
	o, src := c.source(smb2.FileID{
		Persistent: binary.LittleEndian.Uint64(id[:]), Volatile: binary.LittleEndian.Uint64(id[8:]),
	})
	if src == nil {
		c.fail(ntstatus.InvalidHandle)
		return
	}
	defer o.release()
	if from < 0 || to < 0 || n < 0 || n > math.MaxInt64-from || n > math.MaxInt64-to {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.done(c.f.obj.CloneRange(src.obj, from, to, n))
}
