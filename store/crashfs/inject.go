package crashfs

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// Op is a kind of operation.
type Op uint8

const (
	OpOpen Op = iota
	OpCreate
	OpRead
	OpWrite
	OpSync // of a file or a directory
	OpAllocate
	OpLink
	OpRename
	OpRemove
	OpMkdir
	OpList
)

var opNames = [...]string{"open", "create", "read", "write", "sync", "allocate", "link", "rename", "remove", "mkdir", "list"}

func (o Op) String() string { return opNames[o] }

// Event is what an Injector decides about.
type Event struct {
	Op     Op
	Path   string
	Off    int64
	Len    int
	Grow   int64 // bytes by which the file would grow
	Writes bool  // changes something, or opens for it
}

// Fault fails an operation. Of a write the first Short bytes are written.
type Fault struct {
	Err   error
	Short int
}

// Injector returns nil to let an operation pass. It may be called at the same time
// by several goroutines, and must not use the FS.
type Injector func(Event) *Fault

func (fs *FS) injectWrite(e Event) *Fault {
	fs.alive()
	if fs.opt.Inject != nil {
		if f := fs.opt.Inject(e); f != nil {
			return f
		}
	}
	return fs.opt.Space.take(e)
}

// alive returns unless the process was killed: then the calling goroutine stands still
// for ever, as all of a killed process do.
func (fs *FS) alive() {
	if fs.killed.Load() {
		select {}
	}
}

func (fs *FS) inject(e Event) error {
	if f := fs.injectWrite(e); f != nil {
		return f.Err
	}
	return nil
}

// Any fails what the first of several would fail.
func Any(of ...Injector) Injector {
	return func(e Event) *Fault {
		for _, i := range of {
			if f := i(e); f != nil {
				return f
			}
		}
		return nil
	}
}

// In limits an injector to paths that contain part.
func In(part string, i Injector) Injector {
	return func(e Event) *Fault {
		if strings.Contains(e.Path, part) {
			return i(e)
		}
		return nil
	}
}

// Nth fails the nth operation of a kind, counted from 1, and no other.
func Nth(op Op, n int64, err error) Injector {
	var seen atomic.Int64
	return func(e Event) *Fault {
		if e.Op == op && seen.Add(1) == n {
			return &Fault{Err: err}
		}
		return nil
	}
}

// Chance fails operations of a kind with a probability; of a write any part
// may be written.
func Chance(rng *rand.Rand, op Op, probability float64, err error) Injector {
	var mu sync.Mutex // guards rng
	return func(e Event) *Fault {
		if e.Op != op {
			return nil
		}
		mu.Lock()
		defer mu.Unlock()
		if rng.Float64() >= probability {
			return nil
		}
		return &Fault{Err: err, Short: rng.IntN(e.Len + 1)}
	}
}

// Space is a device with room for a number of bytes. It serves all that its FS holds
// and nothing else.
type Space struct {
	Free  atomic.Int64
	taken atomic.Int64
}

// take lets files grow while there is room.
func (s *Space) take(e Event) *Fault {
	if s == nil || e.Grow == 0 {
		return nil
	}
	left := s.Free.Add(-e.Grow)
	if left >= 0 {
		s.taken.Add(e.Grow)
		return nil
	}
	if e.Op == OpAllocate {
		s.Free.Add(e.Grow)
		return &Fault{Err: syscall.ENOSPC}
	}
	back := min(e.Grow, -left)
	s.Free.Add(back)
	s.taken.Add(e.Grow - back)
	return &Fault{Err: syscall.ENOSPC, Short: int(max(int64(e.Len)+left, 0))}
}

// give takes back the room of a file that was removed.
func (s *Space) give(n int64) {
	if s != nil {
		s.Free.Add(n)
		s.taken.Add(-n)
	}
}

func (s *Space) usage() vfs.DiskUsage {
	free, taken := s.Free.Load(), max(s.taken.Load(), 0)
	return vfs.DiskUsage{AvailBytes: uint64(max(free, 0)), TotalBytes: uint64(max(free, 0) + taken), UsedBytes: uint64(taken)}
}

// ReadOnly refuses every change.
func ReadOnly(e Event) *Fault {
	switch e.Op {
	case OpRead, OpList:
		return nil
	case OpOpen, OpSync:
		if !e.Writes || e.Op == OpSync {
			return nil
		}
	}
	return &Fault{Err: syscall.EROFS}
}

// Parse makes the file system that a test run of the server asks for, over the disk
// that dir lies on. The words of spec are separated by commas:
//
//	lose             nothing but losing what is not synced
//	nosync=PART      syncs of paths that contain PART do nothing
//	failsync=N       the Nth sync fails
//	space=BYTES      files may hold so much more, and what removed ones held
//	readonly         every change is refused
func Parse(spec, dir string) (vfs.FS, error) {
	opt := Options{Staging: strings.TrimRight(dir, "/") + ".unsynced"}
	var is []Injector
	for _, w := range strings.Split(spec, ",") {
		key, val, _ := strings.Cut(w, "=")
		n, err := strconv.ParseInt(val, 10, 64)
		switch {
		case key == "lose" && val == "":
		case key == "nosync" && val != "":
			opt.IgnoreSync = func(path string) bool { return strings.Contains(path, val) }
		case key == "failsync" && err == nil:
			is = append(is, Nth(OpSync, n, syscall.EIO))
		case key == "space" && err == nil:
			opt.Space = &Space{}
			opt.Space.Free.Store(n)
		case key == "readonly" && val == "":
			is = append(is, ReadOnly)
		default:
			return nil, fmt.Errorf("test file system: unknown word %q", w)
		}
	}
	if len(is) > 0 {
		opt.Inject = Any(is...)
	}
	return New(vfs.Default, opt)
}
