package odx

import (
	"errors"
	"io"

	"gabion/conformance/client"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// Sector is what offsets and lengths are counted in.
const Sector = 512

// Read asks for a token. ttl is in milliseconds, 0 leaves it to the server.
func Read(f *client.File, off, n uint64, ttl uint32) (out fscc.OffloadReadOutput, err error) {
	in := fscc.OffloadReadInput{Size: fscc.OffloadReadInputSize, TokenTimeToLive: ttl, FileOffset: off, CopyLength: n}
	b, err := f.Ioctl(uint32(fscc.FsctlOffloadRead), in.Append(nil), fscc.OffloadReadOutputSize)
	if err == nil {
		err = out.Decode(b)
	}
	return out, err
}

// Write writes what token stands for, from its byte from on.
func Write(f *client.File, off, n, from uint64, token [512]byte) (written uint64, err error) {
	in := fscc.OffloadWriteInput{Size: fscc.OffloadWriteInputSize, FileOffset: off, CopyLength: n, TransferOffset: from, Token: token}
	b, err := f.Ioctl(uint32(fscc.FsctlOffloadWrite), in.Append(nil), fscc.OffloadWriteOutputSize)
	var out fscc.OffloadWriteOutput
	if err == nil {
		err = out.Decode(b)
	}
	return out.LengthWritten, err
}

// Truncate sets the end of a file.
func Truncate(f *client.File, size int64) error {
	i := fscc.EndOfFileInformation{EndOfFile: size}
	return f.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, i.Append(nil))
}

// ZeroToken is the token that everybody may make ([MS-FSCC] 2.1.11).
func ZeroToken() [512]byte {
	return (&fscc.OffloadToken{TokenType: fscc.OffloadTokenZeroData, TokenIDLength: fscc.OffloadTokenIDMax}).Encode()
}

// Engine copies a file as Windows' CopyFile does: tokens for what is left, written in
// chunks, and reads and writes from the point reached when anything fails.
type Engine struct {
	Chunk uint64 // 256 MiB with Windows
	// Between is called after each OFFLOAD_READ and OFFLOAD_WRITE.
	Between func()
}

// Report says how a copy went.
type Report struct {
	Tokens, Writes int
	Offloaded      uint64 // bytes, of which
	Zeros          uint64 // were not transferred because nothing but zeros followed
	Copied         uint64 // bytes that went through the client
	// Refused is why the copy fell back, Deny whether the engine would try this volume no more,
	// Apart whether it would hold that the two cannot talk to each other.
	Refused     error
	Deny, Apart bool
}

// deny are the failures after which Windows tries a volume no more for a while.
var deny = map[ntstatus.Status]bool{
	ntstatus.NotSupported: true, ntstatus.InvalidDeviceRequest: true, ntstatus.DeviceFeatureNotSupported: true,
	ntstatus.OffloadReadFltNotSupported: true, ntstatus.OffloadWriteFltNotSupported: true,
}

// Copy copies size bytes from src to dst.
func (e *Engine) Copy(src, dst *client.File, size uint64) (r Report, err error) {
	if err := Truncate(dst, int64(size)); err != nil {
		return r, err
	}
	at, err := e.offload(src, dst, size, &r)
	if err == nil {
		return r, nil
	}
	status, ok := client.Status(err)
	if !ok {
		return r, err
	}
	r.Refused, r.Deny = status, deny[status]
	r.Apart = at == 0 && status == ntstatus.InvalidToken
	buf := make([]byte, 1<<20)
	for at < size {
		n, err := src.ReadAt(buf[:min(uint64(len(buf)), size-at)], int64(at))
		if err != nil && !errors.Is(err, io.EOF) {
			return r, err
		}
		if n == 0 {
			return r, io.ErrUnexpectedEOF
		}
		if _, err := dst.WriteAt(buf[:n], int64(at)); err != nil {
			return r, err
		}
		at += uint64(n)
		r.Copied += uint64(n)
	}
	return r, nil
}

// offload copies by tokens and returns how far it came.
func (e *Engine) offload(src, dst *client.File, size uint64, r *Report) (at uint64, err error) {
	end := (size + Sector - 1) / Sector * Sector
	for at < end {
		out, err := Read(src, at, end-at, 0)
		if err != nil {
			return at, err
		}
		r.Tokens++
		e.between()
		for done := uint64(0); done < out.TransferLength; {
			n, err := Write(dst, at, min(e.Chunk, out.TransferLength-done), done, out.Token)
			if err != nil {
				return at, err
			}
			if n == 0 {
				return at, ntstatus.UnexpectedIOError // no progress
			}
			r.Writes++
			r.Offloaded += n
			at, done = at+n, done+n
			e.between()
		}
		if out.Flags&fscc.OffloadReadAllZeroBeyondCurrentRange != 0 {
			if at < end {
				r.Zeros = end - at
			}
			return end, nil // the rest of a fresh target is zeros already
		}
	}
	return at, nil
}

func (e *Engine) between() {
	if e.Between != nil {
		e.Between()
	}
}
