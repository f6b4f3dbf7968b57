package seglog

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"unsafe"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// leastDirect is what a write must have to go past the page cache: it waits for the disk.
const leastDirect = 1 << 20

// direct writes what nobody is likely to read soon, or many write at once, past the page cache, which saves
// copying it and finding pages for it, by a second handle on the file written last. That its file
// is synced by the first does for both.
type direct struct {
	mu   sync.Mutex  // guards the rest
	cur  *directFile // nil if there is none
	off  bool        // it cannot be done here
	done int         // writes
}

// directFile is such a handle.
type directFile struct {
	num   uint32
	file  *os.File
	users int  // writes that use it; guarded by direct.mu
	gone  bool // to be closed by its last user; likewise
}

// write reports whether it wrote w; otherwise it is to be written as usual.
func (d *direct) write(l *Log, w *write) bool {
	return len(w.p) >= leastDirect && d.send(l, w.s.slot, [][]byte{w.p}, w.off)
}

// send reports whether it wrote the pieces, one behind the other, at off of a slot that its
// caller holds; otherwise they are to be written as usual.
func (d *direct) send(l *Log, s *slot, pieces [][]byte, off int64) bool {
	if l.opt.FS != vfs.Default || len(pieces) > maxPieces || !Aligned(pieces) {
		return false
	}
	f := d.open(l, s.num)
	if f == nil {
		return false
	}
	want := 0
	for _, p := range pieces {
		want += len(p)
	}
	n, err := unix.Pwritev(int(f.file.Fd()), pieces, off)
	for errors.Is(err, unix.EINTR) {
		n, err = unix.Pwritev(int(f.file.Fd()), pieces, off)
	}
	return d.finish(f, err == nil && n == want)
}

// maxPieces is how many pieces one system call takes.
const maxPieces = 256

// Aligned reports whether memory lies as a device wants it.
func Aligned(pieces [][]byte) bool {
	const sector = BlockSize // of any device
	for _, p := range pieces {
		if uintptr(unsafe.Pointer(unsafe.SliceData(p)))%sector != 0 {
			return false
		}
	}
	return true
}

// open returns a handle on a slot's file for one write, nil if there can be none.
func (d *direct) open(l *Log, num uint32) *directFile {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		return nil
	}
	if d.cur == nil || d.cur.num != num {
		d.drop()
		f, err := os.OpenFile(l.slotPath(num), os.O_WRONLY|syscall.O_DIRECT, 0)
		if err != nil {
			d.off = notDirect(err)
			return nil
		}
		d.cur = &directFile{num: num, file: f}
	}
	d.cur.users++
	return d.cur
}

// finish ends a write.
func (d *direct) finish(f *directFile, ok bool) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f.users--; f.users == 0 && f.gone {
		f.file.Close()
	}
	if ok {
		d.done++
		return true
	}
	d.off = true // perhaps only this way: who writes it as usual will tell
	d.drop()
	return false
}

// notDirect reports whether a file system has no such writes; anything else may pass.
func notDirect(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

// forget closes the handle on a file that is about to go, which would keep its space.
func (d *direct) forget(num uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.cur != nil && d.cur.num == num {
		d.drop()
	}
}

// drop closes the handle, or leaves that to its last user. Caller holds mu.
func (d *direct) drop() {
	if f := d.cur; f != nil {
		if f.gone = true; f.users == 0 {
			f.file.Close()
		}
		d.cur = nil
	}
}

func (d *direct) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
	d.off = true
}
