package block

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/seglog"
)

// A mirror is a second index: a checkpoint of the first whose files are copies, so that damage to
// a file of one is not damage to the other. Tables never change, so each is copied once,
// verified, and goes from mirror to mirror by a link. The log keeps what came after the
// mirror; a damaged index is replaced by the mirror and brought up to date by replaying that.

// mirrorDirs take turns; one is valid when its mirrorMark is.
var mirrorDirs = [2]string{"mirror.a", "mirror.b"}

const (
	mirrorMark  = "MIRROR"
	mirrorMagic = "GABMIRR1"
	// mirrorEvery is how many bytes of log a mirror may lag behind, and so how much log is
	// kept that the index does not need any more.
	mirrorEvery = 512 << 20
	// mirrorRate is how many bytes per second are copied.
	mirrorRate = 64 << 20
)

type mirror struct {
	v *Volume

	mu    sync.Mutex // guards the rest
	valid int        // of mirrorDirs, -1 for none
	gen   uint64
	seq   uint64 // recovery from it needs this segment and all later
	since uint64 // bytes the log had when it was made
	busy  bool
	done  sync.WaitGroup
}

func (m *mirror) dir(i int) string {
	return m.v.opt.FS.PathJoin(m.v.opt.Dir, mirrorDirs[i])
}

// init finds the valid mirror of the volume.
func (m *mirror) init(v *Volume) {
	m.v, m.valid, m.gen, m.seq = v, -1, 0, 0
	for i := range mirrorDirs {
		b, err := readAll(v.opt.FS, v.opt.FS.PathJoin(m.dir(i), mirrorMark))
		if err != nil || len(b) != 28 || string(b[:8]) != mirrorMagic || le.Uint32(b[24:]) != seglog.CRC(b[:24]) {
			continue
		}
		if gen := le.Uint64(b[8:]); m.valid < 0 || gen > m.gen {
			m.valid, m.gen, m.seq = i, gen, le.Uint64(b[16:])
		}
	}
}

func readAll(fs vfs.FS, path string) ([]byte, error) {
	f, err := fs.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// needs returns the first segment that recovery from the mirror reads, a large number
// without a mirror.
func (m *mirror) needs() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.valid < 0 {
		return 1<<64 - 1
	}
	return m.seq
}

// due reports whether it is time for another mirror.
func (m *mirror) due() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	every := uint64(mirrorEvery)
	if c := m.v.opt.Capacity; c > 0 {
		every = min(every, uint64(c/64))
	}
	return !m.busy && m.v.log.Stats().Bytes-m.since >= every && !m.v.log.Short()
}

// renew begins a mirror if it is time.
func (m *mirror) renew() {
	if m.v.opt.Manual || !m.due() {
		return
	}
	m.mu.Lock()
	m.busy, m.since = true, m.v.log.Stats().Bytes
	m.done.Add(1)
	m.mu.Unlock()
	go func() {
		defer m.done.Done()
		if err := m.take(); err != nil && m.v.check() == nil {
			m.v.out.Warn("no second index", "error", err)
		}
		m.mu.Lock()
		m.busy = false
		m.mu.Unlock()
	}()
}

// drop gives the mirror up, so that the log need not be kept for it.
func (m *mirror) drop() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.dropLocked()
}

func (m *mirror) dropLocked() error {
	if m.valid < 0 {
		return nil
	}
	fs, dir := m.v.opt.FS, m.dir(m.valid)
	if err := fs.Remove(fs.PathJoin(dir, mirrorMark)); err != nil {
		return err
	}
	if err := syncDir(fs, dir); err != nil {
		return err
	}
	m.valid = -1
	return m.remove(dir)
}

// take makes a mirror of the index as it is on disk, then gives the last one up.
func (m *mirror) take() error {
	v, fs := m.v, m.v.opt.FS
	seq, err := v.flushed()
	if err != nil || seq == 0 {
		return err
	}
	m.mu.Lock()
	old, gen := m.valid, m.gen+1
	m.mu.Unlock()
	next := 0
	if old == 0 {
		next = 1
	}
	dir := m.dir(next)
	if err := m.remove(dir); err != nil {
		return err
	}
	if err := v.checkpoint(dir); err != nil {
		m.remove(dir) //nolint:errcheck // it is not valid
		return err
	}
	b := append([]byte(mirrorMagic), make([]byte, 20)...)
	le.PutUint64(b[8:], gen)
	le.PutUint64(b[16:], seq)
	le.PutUint32(b[24:], seglog.CRC(b[:24]))
	if err := writeFile(fs, fs.PathJoin(dir, mirrorMark), b); err != nil {
		return err
	}
	if err := errors.Join(syncDir(fs, dir), syncDir(fs, v.opt.Dir)); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old >= 0 && m.valid == old {
		if err := m.dropLocked(); err != nil {
			return err
		}
	}
	m.valid, m.gen, m.seq = next, gen, seq
	return nil
}

// remove removes a directory of files, which go durably ahead of it.
func (m *mirror) remove(dir string) error {
	fs := m.v.opt.FS
	names, err := fs.List(dir)
	if isNotExist(err) {
		return nil
	}
	for _, name := range names {
		if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
			return err
		}
	}
	if err == nil {
		err = syncDir(fs, dir)
	}
	if err == nil {
		err = fs.Remove(dir)
	}
	if err == nil {
		err = syncDir(fs, m.v.opt.Dir)
	}
	return err
}

// checkpoint is Pebble's, which panics when a directory cannot be synced.
func (v *Volume) checkpoint(dir string) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("index: %v", r)
			v.stop(err)
		}
	}()
	return v.index.Checkpoint(dir)
}

func writeFile(fs vfs.FS, path string, b []byte) error {
	f, err := fs.Create(path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

// inMirror reports whether a path lies in a mirror.
func inMirror(fs vfs.FS, path string) bool {
	return strings.HasPrefix(fs.PathBase(fs.PathDir(path)), "mirror.")
}

// link gives a mirror a table: the last mirror's, or a verified copy.
func (m *mirror) link(from, to string) error {
	fs := m.v.opt.FS
	m.mu.Lock()
	old := m.valid
	m.mu.Unlock()
	if old >= 0 {
		had := fs.PathJoin(m.dir(old), fs.PathBase(to))
		a, err := fs.Stat(had)
		b, err2 := fs.Stat(from)
		if err == nil && err2 == nil && a.Size() == b.Size() && fs.Link(had, to) == nil {
			return nil
		}
	}
	if err := m.copy(from, to, m.v.running.Load() && !m.v.opt.Manual); err != nil {
		return err
	}
	if strings.HasSuffix(to, ".sst") {
		return verifyTable(fs, to, nil)
	}
	return nil
}

// copy copies a file, at a bounded rate if paced.
func (m *mirror) copy(from, to string, paced bool) error {
	fs := m.v.opt.FS
	in, err := fs.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := fs.Create(to, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	buf := make([]byte, 1<<20)
	for {
		n, rerr := in.Read(buf)
		if _, err = out.Write(buf[:n]); err != nil || rerr != nil {
			if rerr != io.EOF {
				err = errors.Join(err, rerr)
			}
			break
		}
		if paced {
			if m.v.closed.Load() {
				err = store.ErrStopped
				break
			}
			// By pieces: the log's own syncs would wait behind all of it at the end.
			if err = out.SyncData(); err != nil {
				break
			}
			time.Sleep(time.Duration(n) * time.Second / mirrorRate)
		}
	}
	return errors.Join(err, out.Sync(), out.Close())
}

// verifyTable checks the checksums of all of a table. pace, if there is one, is asked ahead
// of each read.
func verifyTable(fs vfs.FS, path string, pace func(n int) error) error {
	f, err := fs.Open(path)
	if err != nil {
		return err
	}
	if pace != nil {
		f = pacedFile{f, pace}
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		return errors.Join(err, f.Close())
	}
	o := pebble.Options{Comparer: pebble.DefaultComparer, Merger: merger}
	o.EnsureDefaults()
	r, err := sstable.NewReader(context.Background(), readable, o.MakeReaderOptions())
	if err != nil {
		return errors.Join(err, readable.Close())
	}
	return errors.Join(r.ValidateBlockChecksums(), r.Close())
}

// pacedFile asks ahead of each read.
type pacedFile struct {
	vfs.File
	pace func(n int) error
}

func (f pacedFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.pace(len(p)); err != nil {
		return 0, err
	}
	return f.File.ReadAt(p, off)
}

// restore puts the mirror in the index's place. Interrupted, it is done again, because the
// index does not open then.
func (m *mirror) restore() error {
	fs, dir := m.v.opt.FS, m.v.opt.FS.PathJoin(m.v.opt.Dir, "index")
	from := m.dir(m.valid)
	names, err := fs.List(from)
	if err != nil {
		return err
	}
	if err := m.clearIndex(); err != nil {
		return err
	}
	// The marker that names the MANIFEST comes last.
	for _, last := range []bool{false, true} {
		for _, name := range names {
			if name == mirrorMark || strings.HasPrefix(name, "marker.manifest") != last {
				continue
			}
			if err := m.copy(fs.PathJoin(from, name), fs.PathJoin(dir, name), false); err != nil {
				return err
			}
		}
		if err := syncDir(fs, dir); err != nil {
			return err
		}
	}
	return m.remove(m.dir(1 - m.valid)) // its tables may get the numbers of others
}

// clearIndex removes the index's files, that which makes them an index first.
func (m *mirror) clearIndex() error {
	fs, dir := m.v.opt.FS, m.v.opt.FS.PathJoin(m.v.opt.Dir, "index")
	names, err := fs.List(dir)
	if err != nil {
		return err
	}
	for _, first := range []bool{true, false} {
		for _, name := range names {
			if strings.HasPrefix(name, "marker.manifest") == first {
				if err := fs.Remove(fs.PathJoin(dir, name)); err != nil {
					return err
				}
			}
		}
		if err := syncDir(fs, dir); err != nil {
			return err
		}
	}
	return nil
}

// rebuild replaces the index by the mirror, or, if the log reaches back to the first record,
// by nothing: replaying makes all of it. It says which.
func (m *mirror) rebuild() (string, error) {
	if m.valid >= 0 {
		return "the second index and the log since", m.restore()
	}
	for _, s := range m.v.log.Segments() {
		if !s.Moved {
			if s.First == 1 {
				return "all of the log", m.clearIndex()
			}
			break
		}
	}
	return "", fmt.Errorf("there is no second index, and the log does not reach back to its beginning: %w", store.ErrNotFound)
}

// isDamage reports whether an error of opening the index means that its files are damaged.
func isDamage(err error) bool {
	var log *seglog.DamageError
	switch {
	case err == nil, errors.As(err, &log), errors.Is(err, seglog.ErrStopped), errors.Is(err, seglog.ErrNoSpace), vfs.IsNoSpaceError(err):
		return false
	}
	return pebble.IsCorruptionError(err) || isNotExist(err) || errors.Is(err, errIndex) ||
		errors.Is(err, errFields) || errors.Is(err, errChunk) || errors.Is(err, errCounts) || errors.Is(err, errEdits)
}

// errIndex: the index does not open.
var errIndex = errors.New("index")
