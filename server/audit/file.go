package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
)

const (
	// DefaultSize is how large a file gets; with DefaultKeep older ones, the log takes
	// 144 MiB at most.
	DefaultSize = 16 << 20
	DefaultKeep = 8
)

// File is a file of lines that rotates. It is safe for concurrent use.
type File struct {
	path string
	max  int64
	keep int

	mu   sync.Mutex
	f    *os.File // guarded by mu; nil after Close
	size int64    // guarded by mu
}

// OpenFile appends to the file at path. Beyond max bytes a new one is begun, and keep
// old ones are kept; 0 means the default.
func OpenFile(path string, max int64, keep int) (*File, error) {
	if max <= 0 {
		max = DefaultSize
	}
	if keep <= 0 {
		keep = DefaultKeep
	}
	l := &File{path: path, max: max, keep: keep}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

// open opens the present file. Caller holds mu, or has the only reference.
func (l *File) open() error {
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	l.f, l.size = f, info.Size()
	return nil
}

// Write appends whole lines, which are never split over two files.
func (l *File) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return 0, fs.ErrClosed
	}
	var rotation error
	if l.size > 0 && l.size+int64(len(b)) > l.max {
		rotation = l.rotate()
	}
	n, err := l.f.Write(b)
	l.size += int64(n)
	return n, errors.Join(err, rotation)
}

// rotate begins a new file. If that fails the present one goes on growing, because a
// log that is too long is better than none. Caller holds mu.
func (l *File) rotate() error {
	for i := l.keep - 1; i > 0; i-- {
		if err := os.Rename(l.old(i), l.old(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(l.path, l.old(1)); err != nil {
		return err
	}
	full := l.f
	if err := l.open(); err != nil {
		return err
	}
	return full.Close()
}

func (l *File) old(i int) string { return fmt.Sprintf("%s.%d", l.path, i) }

// Sync makes the lines written so far durable.
func (l *File) Sync() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return fs.ErrClosed
	}
	return l.f.Sync()
}

// Close closes the file; what is written later is refused.
func (l *File) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil {
		return nil
	}
	f := l.f
	l.f = nil
	return f.Close()
}
