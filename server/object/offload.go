package object

import (
	"context"
	"errors"

	"gabion/odx"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Sector is Volume.LogicalBytesPerSector, which offloaded transfers are counted in.
const Sector = 512

func sectorUp(n int64) int64 { return (n + Sector - 1) / Sector * Sector }

// offloadable checks the file for an offloaded transfer, in the order of [MS-FSA]
// 2.1.5.10.20 and 2.1.5.10.21; unfit is the status for a file of the wrong kind.
func (o *Open) offloadable(unfit ntstatus.Status) ntstatus.Status {
	if o.IsDir() {
		return unfit
	}
	a, err := o.file.node.Attr()
	if err != nil {
		return o.tree.vol.fs.statusOf(err)
	}
	if a.FileAttributes&(attrSparse|attrEncrypted|attrCompressed) != 0 {
		return unfit
	}
	if o.deleting() {
		return ntstatus.FileDeleted
	}
	return ntstatus.Success
}

// OffloadRead is what FSCTL_OFFLOAD_READ answers.
type OffloadRead struct {
	Token      odx.Token
	Info       odx.Info // none for the zero token
	Length     int64
	ZeroBeyond bool // OFFLOAD_READ_FLAG_ALL_ZERO_BEYOND_CURRENT_RANGE
}

// IssueToken makes a token for length bytes of a stream.
type IssueToken func(s store.Stream, off, length int64) (odx.Token, odx.Info, store.Pos, error)

// OffloadRead is FSCTL_OFFLOAD_READ from the check of the stream on ([MS-FSA] 2.1.5.10.20). The
// token must not be handed out before the position is durable.
func (o *Open) OffloadRead(off, n int64, issue IssueToken) (out OffloadRead, pos store.Pos, st ntstatus.Status) {
	if st := o.enter(); st != ntstatus.Success {
		return out, 0, st
	}
	defer o.leave()
	if st := o.offloadable(ntstatus.OffloadReadFileNotSupported); st != ntstatus.Success {
		return out, 0, st
	}
	if off < 0 || n < 0 || off+n < 0 {
		return out, 0, ntstatus.InvalidParameter
	}
	if o.stream.locked(o, uint64(off), uint64(n), false) {
		return out, 0, ntstatus.FileLockConflict
	}
	o.releaseSource()
	for {
		pos, err := o.pin(off, n, issue, &out)
		if errors.Is(err, errAtEnd) {
			return out, 0, ntstatus.EndOfFile
		}
		if errors.Is(err, store.ErrInvalid) {
			continue // it was truncated between two looks
		}
		o.tree.vol.note(pos)
		return out, pos, o.tree.vol.fs.statusOf(err)
	}
}

var errAtEnd = errors.New("at the end of the stream")

// pin clips the range and makes a token for it, or finds that the zero token will do.
func (o *Open) pin(off, n int64, issue IssueToken, out *OffloadRead) (pos store.Pos, err error) {
	data := o.stream.data
	z := data.Sizes()
	*out = OffloadRead{}
	switch {
	case off >= z.Size:
		return 0, errAtEnd
	case off >= z.ValidData:
		out.Token, out.Length, out.ZeroBeyond = odx.Zero(), min(n, sectorUp(z.Size-off)), true
		return 0, nil
	case off+n > z.ValidData:
		n, out.ZeroBeyond = sectorUp(z.ValidData-off), true
	}
	zeros, err := leadingZeros(data, off, n)
	if err != nil {
		return 0, err
	}
	if zeros > 0 {
		// There may be data behind a shorter transfer.
		out.Token, out.Length, out.ZeroBeyond = odx.Zero(), zeros, out.ZeroBeyond && zeros == n
		return 0, nil
	}
	out.Length = n
	out.Token, out.Info, pos, err = issue(data, off, n)
	return pos, err
}

// longestLook bounds what one OFFLOAD_READ looks at to find out that there is nothing.
const longestLook = 64 << 30

// leadingZeros returns n when nothing is stored in [off, off+n), less when it is so much that the
// rest was not looked at, and 0 when there is data.
func leadingZeros(s store.Stream, off, n int64) (int64, error) {
	done, step := int64(0), int64(1<<20)
	for done < min(n, longestLook) {
		k := min(step, n-done)
		list, err := s.Allocated(off+done, k, nil)
		if err != nil || len(list) > 0 {
			return 0, err
		}
		done += k
		step = min(step*16, 1<<30)
	}
	return done, nil
}

// MayOffloadWrite makes the checks of [MS-FSA] 2.1.5.10.21 from that of the stream up to the
// transfer.
func (o *Open) MayOffloadWrite(off, n int64) ntstatus.Status {
	if st := o.enter(); st != ntstatus.Success {
		return st
	}
	defer o.leave()
	if st := o.offloadable(ntstatus.OffloadWriteFileNotSupported); st != ntstatus.Success {
		return st
	}
	if off < 0 || n < 0 || off > store.MaxSize || n > store.MaxSize-off {
		return ntstatus.InvalidParameter
	}
	if o.stream.locked(o, uint64(off), uint64(n), true) {
		return ntstatus.FileLockConflict
	}
	switch z := o.stream.data.Sizes(); {
	case off >= z.Size:
		return ntstatus.EndOfFile
	case off > z.ValidData:
		return ntstatus.BeyondVdl
	}
	return ntstatus.Success
}

// ReadOnly reports whether nothing can be changed through the open: Volume.IsReadOnly.
func (o *Open) ReadOnly() bool { return o.tree.opt.ReadOnly || o.file.view != store.Live }

// copyLimit bounds what one OFFLOAD_WRITE copies where it cannot share.
const copyLimit = 16 << 20

// OffloadWrite writes what src stands for, from its offset from on, to [off, off+n). It
// returns how much that is in whole sectors, which may be less; an error is reported only
// when it is nothing.
func (o *Open) OffloadWrite(ctx context.Context, src *odx.Source, from, off, n int64) (written int64, pos store.Pos, st ntstatus.Status) {
	if st := o.writable(); st != ntstatus.Success {
		return 0, 0, st
	}
	defer o.leave()
	w := &offload{o: o, data: o.stream.data, touch: o.beforeChange(notifySize|notifyLastWrite, true)}
	// What is past the end of the target counts as written: the last sector of a file
	// that ends within one.
	n = min(n, sectorUp(w.data.Sizes().Size-off))
	var err error
	switch {
	case n <= 0:
		return 0, 0, ntstatus.EndOfFile // it was truncated meanwhile
	case src.Zero:
		err = w.zeros(off, n)
	case src.Remote != nil:
		err = w.fetch(ctx, src, from, off, n)
	default:
		err = w.share(src, from, off, n)
	}
	if err != nil && w.done < Sector {
		return 0, o.through(w.pos, false), o.offloadStatus(err)
	}
	return w.done / Sector * Sector, o.through(w.pos, false), ntstatus.Success
}

func (o *Open) offloadStatus(err error) ntstatus.Status {
	switch {
	case errors.Is(err, odx.ErrInvalid):
		return ntstatus.InvalidToken
	case errors.Is(err, odx.ErrUnreachable):
		return ntstatus.DeviceUnreachable
	case errors.Is(err, context.Canceled):
		return ntstatus.Cancelled
	case errors.Is(err, store.ErrTooLarge):
		return ntstatus.InvalidParameter
	}
	return o.tree.vol.fs.statusOf(err)
}

// offload is an OFFLOAD_WRITE on its way: done bytes of it are in the target.
type offload struct {
	o     *Open
	data  store.Stream
	touch store.Touch
	done  int64
	pos   store.Pos
}

// did notes a change that brought n bytes.
func (w *offload) did(n int64, pos store.Pos, err error) error {
	if err == nil {
		w.done += n
		w.pos = max(w.pos, pos)
	}
	return err
}

// within clips a range to the target's size, which no offloaded write changes.
func (w *offload) within(off, n int64) int64 { return max(0, min(n, w.data.Sizes().Size-off)) }

// zeros writes the zero token. Behind the valid data nothing is stored, so all of the file
// becomes valid at once: a disk that is zeroed piece by piece changes with the first, and
// nobody waits for the others to be stable.
//
// Deviation: [MS-FSA] 2.1.5.10.21 makes valid only what was written. A later transfer further
// on then succeeds where it would be refused with STATUS_BEYOND_VDL; nothing else shows it.
func (w *offload) zeros(off, n int64) error {
	if err := w.clear(off, w.within(off, n)); err != nil {
		return err
	}
	if err := w.valid(store.MaxSize); err != nil {
		return err
	}
	for w.pos == 0 {
		// What made it zeros may be another's, and not yet durable.
		pos, err := w.data.SetValidData(w.data.Sizes().ValidData, store.Touch{})
		if errors.Is(err, store.ErrInvalid) {
			continue // it was raised between two looks
		}
		if err != nil {
			return err
		}
		w.pos = pos
		break
	}
	return w.did(n, 0, nil)
}

// zero makes a range read as zeros, and valid.
func (w *offload) zero(off, n int64) error {
	k := w.within(off, n)
	if err := w.clear(off, k); err != nil {
		return err
	}
	return w.did(n, 0, w.valid(off+k))
}

// clear makes a range read as zeros. Where nothing is stored nothing need be done.
func (w *offload) clear(off, n int64) error {
	empty, err := leadingZeros(w.data, off, n)
	if err != nil || empty == n {
		return err
	}
	pos, err := w.data.Zero(off, n, w.touch)
	return w.did(0, pos, err)
}

// valid raises the valid data length.
func (w *offload) valid(end int64) error {
	z := w.data.Sizes()
	if end = min(end, z.Size); end <= z.ValidData {
		return nil
	}
	pos, err := w.data.SetValidData(end, w.touch)
	if errors.Is(err, store.ErrInvalid) {
		return nil // another's write or truncation came first
	}
	return w.did(0, pos, err)
}

// write copies bytes, as many as the target has room for.
func (w *offload) write(p []byte, off int64) error { return w.writeBy(w.data.WriteAt, p, off) }

// stream is write for what comes in bulk.
func (w *offload) stream(p []byte, off int64) error {
	if s, ok := w.data.(store.Streamer); ok {
		return w.writeBy(s.StreamAt, p, off)
	}
	return w.write(p, off)
}

func (w *offload) writeBy(writeAt func([]byte, int64, store.Touch) (store.Pos, error), p []byte, off int64) error {
	k := w.within(off, int64(len(p)))
	if k == 0 {
		return w.did(int64(len(p)), 0, nil)
	}
	pos, err := writeAt(p[:k], off, w.touch)
	return w.did(int64(len(p)), pos, err)
}

// share clones the blocks that lie alike on both sides and copies what is left at the ends. Where
// they do not, a part is copied.
func (w *offload) share(src *odx.Source, from, off, n int64) error {
	block := w.o.blockSize()
	at := src.Off + from // in the source's stream
	if (at-off)%block != 0 {
		return w.copy(src, from, off, min(n, copyLimit))
	}
	head := min(n, (block-off%block)%block)
	if err := w.copy(src, from, off, head); err != nil {
		return err
	}
	whole := min(w.within(off+head, n-head), src.Stream.Sizes().Size-at-head)
	if whole = whole / block * block; whole > 0 {
		pos, err := w.data.CloneFrom(off+head, src.Stream, at+head, whole, w.touch)
		if err := w.did(whole, pos, err); err != nil {
			return err
		}
	}
	whole = max(whole, 0)
	return w.copy(src, from+head+whole, off+head+whole, min(n-head-whole, copyLimit))
}

// copy moves the bytes themselves.
func (w *offload) copy(src *odx.Source, from, off, n int64) error {
	if n <= 0 {
		return nil
	}
	buf := make([]byte, min(n, copyBuffer))
	for n > 0 {
		p := buf[:min(n, copyBuffer)]
		if err := src.ReadAt(p, from); err != nil {
			return err
		}
		if err := w.write(p, off); err != nil {
			return err
		}
		k := int64(len(p))
		from, off, n = from+k, off+k, n-k
	}
	return nil
}

// fetch brings the data from another array.
func (w *offload) fetch(ctx context.Context, src *odx.Source, from, off, n int64) error {
	_, err := src.Remote(ctx, from, n, func(data []byte, k int64) error {
		if data == nil {
			return w.hole(off+w.done, k)
		}
		return w.stream(data, off+w.done)
	})
	if w.done > 0 {
		err = errors.Join(err, w.valid(off+w.done)) // it may have ended with a hole
	}
	return err
}

// hole is zero for what mostly holds nothing already, which then costs no record.
func (w *offload) hole(off, n int64) error {
	if n <= 1<<20 {
		if list, err := w.data.Allocated(off, n, nil); err == nil && len(list) == 0 {
			return w.did(n, 0, nil)
		}
	}
	return w.zero(off, n)
}
