package seglog

import (
	"errors"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// leastDirect is what a write must have to go past the page cache: it waits for the disk.
const leastDirect = 1 << 20

// direct writes what nobody is likely to read soon past the page cache, which saves
// copying it and finding pages for it, by a second handle on the file written last. That its file
// is synced by the first does for both.
type direct struct {
	mu   sync.Mutex // guards the rest
	num  uint32
	file *os.File // nil if there is none
	off  bool     // it cannot be done here
	done int      // writes
}

// write reports whether it wrote w; otherwise it is to be written as usual.
func (d *direct) write(l *Log, w *write) bool {
	if len(w.p) < leastDirect || l.opt.FS != vfs.Default {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.file == nil || d.num != w.s.slot.num {
		d.drop()
		if d.off {
			return false
		}
		f, err := os.OpenFile(l.slotPath(w.s.slot.num), os.O_WRONLY|syscall.O_DIRECT, 0)
		if err != nil {
			d.off = notDirect(err)
			return false
		}
		d.num, d.file = w.s.slot.num, f
	}
	if _, err := d.file.WriteAt(w.p, w.off); err != nil {
		d.off = true // perhaps only this way: who writes it as usual will tell
		d.drop()
		return false
	}
	d.done++
	return true
}

// notDirect reports whether a file system has no such writes; anything else may pass.
func notDirect(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP)
}

// forget closes the handle on a file that is about to go, which would keep its space.
func (d *direct) forget(num uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.num == num {
		d.drop()
	}
}

// drop closes the handle. Caller holds mu.
func (d *direct) drop() {
	if d.file != nil {
		d.file.Close()
		d.file = nil
	}
}

func (d *direct) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop()
	d.off = true
}
