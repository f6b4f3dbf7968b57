package object

import (
	"io"

	"gabion/protocol/ntstatus"
	"gabion/store"
)

// mayCopy checks both ends of a copy inside the server.
func (o *Open) mayCopy(src *Open, srcOff, off, n int64) ntstatus.Status {
	switch {
	case o.IsDir() || src.IsDir(), srcOff < 0, off < 0, n < 0, srcOff+n < 0, off+n < 0:
		return ntstatus.InvalidParameter
	case !src.has(fileReadData|fileExecute) || !o.has(fileWriteData|fileAppendData):
		return ntstatus.AccessDenied
	}
	return ntstatus.Success
}

// copyLocked reports a byte-range lock in the way of a copy ([MS-SMB2] 3.3.5.15.6).
func (o *Open) copyLocked(src *Open, srcOff, off, n int64) bool {
	return src.stream.locked(src, uint64(srcOff), uint64(n), false) || o.stream.locked(o, uint64(off), uint64(n), true)
}

// releaseSource makes holders of write caching on the source give up their data
// before it is copied. Clients cannot be waited for here: a W grant beside a
// reader's open is of the same client.
func (o *Open) releaseSource() {
	var l later
	o.file.mu.Lock()
	o.stream.breakGrants(o, demandRead, &l)
	o.file.mu.Unlock()
	l.run()
}

// CloneRange is FSCTL_DUPLICATE_EXTENTS_TO_FILE ([MS-FSA] 2.1.5.10.4): o is the target.
// Byte-range locks are not looked at, as ReFS does it (notes 91, 92), and a target that
// is sparse may grow.
//
// Deviation: a range that ends with the source need not end with a cluster. Linux asks for the whole of
// a file by its length (cp --reflink), and there is nothing to tell apart behind it.
func (o *Open) CloneRange(src *Open, srcOff, off, n int64) (store.Pos, ntstatus.Status) {
	block := o.blockSize()
	switch {
	case o.ReadOnly():
		return 0, ntstatus.MediaWriteProtected
	case srcOff < 0, off < 0, n < 0, srcOff+n < 0, off+n < 0,
		srcOff%block != 0, off%block != 0, n%block != 0 && srcOff+n != src.size():
		return 0, ntstatus.InvalidParameter
	case n == 0:
		return 0, ntstatus.Success
	case o.IsDir():
		return 0, ntstatus.NotSupported
	case src.IsDir(), !src.has(fileReadData | fileExecute), src.tree.vol != o.tree.vol:
		return 0, ntstatus.InvalidParameter
	case !o.has(fileWriteData | fileAppendData):
		return 0, ntstatus.AccessDenied
	}
	n = blockUp(n, block)
	from, to, st := src.sparse(o)
	switch {
	case st != ntstatus.Success:
		return 0, st
	case from && !to,
		srcOff+n > blockUp(src.size(), block),
		!to && off+n > blockUp(o.size(), block),
		src.stream == o.stream && srcOff < off+n && off < srcOff+n:
		return 0, ntstatus.NotSupported
	}
	return o.clone(src, srcOff, off, n)
}

// sparse reports which of two files are sparse.
func (o *Open) sparse(other *Open) (mine, others bool, st ntstatus.Status) {
	a, err := o.file.node.Attr()
	if err != nil {
		return false, false, o.tree.vol.fs.statusOf(err)
	}
	b, err := other.file.node.Attr()
	return a.FileAttributes&attrSparse != 0, b.FileAttributes&attrSparse != 0, o.tree.vol.fs.statusOf(err)
}

func (o *Open) blockSize() int64 { return int64(o.tree.vol.store.Info().BlockSize) }

func blockUp(n, block int64) int64 { return (n + block - 1) / block * block }

// clone calls the store, with both opens held.
func (o *Open) clone(src *Open, srcOff, off, n int64) (store.Pos, ntstatus.Status) {
	if src != o {
		if st := src.enter(); st != ntstatus.Success {
			return 0, st
		}
		defer src.leave()
	}
	if st := o.writable(); st != ntstatus.Success {
		return 0, st
	}
	defer o.leave()
	src.releaseSource()
	n = min(n, src.size()-srcOff)
	pos, err := o.stream.data.CloneFrom(off, src.stream.data, srcOff, n, o.beforeChange(notifySize|notifyLastWrite, true))
	return o.through(pos, false), o.tree.vol.fs.statusOf(err)
}

// copyBuffer bounds the memory of one CopyRange that cannot clone.
const copyBuffer = 256 << 10

// CopyRange is one chunk of FSCTL_SRV_COPYCHUNK ([MS-SMB2] 3.3.5.15.6): o is the
// target. It clones what is aligned and copies the rest.
func (o *Open) CopyRange(src *Open, srcOff, off, n int64) (copied int64, pos store.Pos, st ntstatus.Status) {
	if st := o.mayCopy(src, srcOff, off, n); st != ntstatus.Success {
		return 0, 0, st
	}
	if o.copyLocked(src, srcOff, off, n) {
		return 0, 0, ntstatus.FileLockConflict
	}
	if srcOff+n > src.size() {
		return 0, 0, ntstatus.InvalidViewSize // [MS-SMB2] 3.3.5.15.6.1
	}
	if block := o.blockSize(); src.tree.vol == o.tree.vol && srcOff%block == 0 && off%block == 0 && src.stream != o.stream {
		if whole := n / block * block; whole > 0 {
			if pos, st = o.clone(src, srcOff, off, whole); st == ntstatus.Success {
				copied = whole
			}
		}
	}
	src.releaseSource()
	buf := make([]byte, min(n-copied, copyBuffer))
	for copied < n {
		k, err := src.readRaw(buf[:min(n-copied, copyBuffer)], srcOff+copied)
		if err != nil {
			return copied, pos, o.tree.vol.fs.statusOf(err)
		}
		if k == 0 { // cut short or closed meanwhile
			return copied, pos, ntstatus.InvalidViewSize
		}
		p, st := o.Write(buf[:k], off+copied, false)
		if st != ntstatus.Success {
			return copied, pos, st
		}
		pos, copied = max(pos, p), copied+int64(k)
	}
	return copied, pos, ntstatus.Success
}

// readRaw reads without the checks that were made already.
func (o *Open) readRaw(p []byte, off int64) (int, error) {
	if st := o.enter(); st != ntstatus.Success {
		return 0, nil
	}
	defer o.leave()
	n, err := o.stream.data.ReadAt(p, off)
	if err == io.EOF {
		err = nil
	}
	return n, err
}
