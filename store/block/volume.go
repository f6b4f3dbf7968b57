package block

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cockroachdb/errors/oserror"
	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
	"gabion/store/seglog"
)

// Volume is an open volume; it implements store.Volume.
type Volume struct {
	opt   Options
	id    identity
	lock  io.Closer
	log   *seglog.Log
	index *pebble.DB
	out   *slog.Logger

	stopped atomic.Pointer[error] // why the volume stopped, nil while it runs
	dead    chan struct{}         // closed when it stopped
	closed  atomic.Bool

	names sync.Mutex   // guards the shape of the tree: entries and links
	after []func()     // to run once names is released; guarded by names
	moved []entryName  // whose entries changed since names was taken; guarded by names
	epoch sync.RWMutex // see doc.go
	order sync.Mutex   // log order is index order; guards the three below
	batch *pebble.Batch
	since int64   // bytes logged since the index was last flushed
	at    applied // what the index holds

	nextFile  uint64 // guarded by names
	fileLease uint64 // guarded by names: ids below are used, on disk
	version   uint64 // newest snapshot's number; guarded by epoch

	snaps    snapTable
	inodes   inodeTable
	entries  entryCache
	chunks   chunkCache
	data     dataCache
	space    space
	pendings pendTable
	pins     pinTable
	held     heldPass      // guarded by work.step
	coverGen atomic.Uint64 // bumped when the cover of some directory changed

	disk    disk
	reserve reserve
	mirror  mirror
	ifs     *indexFS
	running atomic.Bool // past recovery
	work    house
	scrub   scrubber
	quotas  quotaTable
	turn    atomic.Pointer[func(bytes int, stop <-chan struct{})] // see TakeTurns
	cleaner cleaner
	few     int                                 // chunks that a change may touch one by one
	eager   bool                                // tests: clean whenever there is garbage
	window  int                                 // tests: in place of countWindow
	wrote   struct{ data, moved atomic.Uint64 } // bytes
	read    atomic.Uint64                       // bytes of data, whoever wanted them
	large   atomic.Int32                        // large reads going on
}

var _ store.Volume = (*Volume)(nil)

// Open opens the volume in opt.Dir, creating it in an empty or missing directory.
// store.ErrBusy: another process has it open.
func Open(opt Options) (*Volume, error) {
	opt = opt.withDefaults()
	v := &Volume{opt: opt, out: opt.Logger, dead: make(chan struct{}), few: fewChunks}
	if err := v.open(); err != nil {
		v.abandon()
		return nil, fmt.Errorf("open volume %s: %w", opt.Dir, err)
	}
	return v, nil
}

func isNotExist(err error) bool { return oserror.IsNotExist(err) || errors.Is(err, iofs.ErrNotExist) }

func (v *Volume) open() error {
	fs, dir := v.opt.FS, v.opt.Dir
	if err := makeDirs(fs, dir); err != nil {
		return err
	}
	lock, err := fs.Lock(fs.PathJoin(dir, "LOCK"))
	if err != nil {
		if errors.Is(err, os.ErrPermission) || errors.Is(err, syscall.EROFS) || vfs.IsNoSpaceError(err) || isNotExist(err) {
			return err
		}
		return fmt.Errorf("%w (%v)", store.ErrBusy, err)
	}
	v.lock = lock
	id, exists, err := readIdentity(fs, dir)
	if err != nil {
		return err
	}
	if !exists {
		if id, err = v.create(); err != nil {
			return err
		}
	}
	v.id = id
	v.mirror.init(v)
	if err := v.data.init(v.opt.DataCache); err != nil {
		v.out.Warn("no memory for the cache of data: reads go without", "bytes", v.opt.DataCache, "error", err)
	}
	return v.start()
}

// empty makes the tables in memory what they are ahead of recovery.
func (v *Volume) empty() {
	v.chunks.init(v, v.opt.CacheSize*3/8)
	v.inodes.init()
	v.space.init(v)
	v.reserve.init(v)
	v.pendings.init()
	v.pins.init(v)
	v.snaps.init()
	v.work.init(v)
	v.cleaner.init(v)
}

// create makes the directories of a new volume, then its identity.
func (v *Volume) create() (identity, error) {
	fs, dir := v.opt.FS, v.opt.Dir
	if names, err := fs.List(fs.PathJoin(dir, "log")); err == nil && len(names) > 0 {
		return identity{}, fmt.Errorf("%s is missing, though there is a log", volumeFile)
	}
	for _, sub := range []string{"log", "index"} {
		if err := fs.MkdirAll(fs.PathJoin(dir, sub), 0o700); err != nil {
			return identity{}, err
		}
	}
	if err := syncDir(fs, dir); err != nil {
		return identity{}, err
	}
	return createIdentity(v.opt)
}

// start opens log and index, replays, and starts the background. A damaged index is
// replaced by its mirror.
func (v *Volume) start() error {
	live, last, err := v.recoverAll(v.opt.rebuild)
	if isDamage(err) && v.mirror.valid >= 0 && !v.opt.rebuild && v.Stopped() == nil {
		v.out.Error("the index is damaged; the second one takes its place", "dir", v.opt.Dir, "error", err)
		v.closeAll()
		live, last, err = v.recoverAll(true)
	}
	if err != nil {
		return err
	}
	every := time.Second
	if v.opt.Manual {
		every = 0
	}
	if err := v.log.Start(live, last, every); err != nil {
		return err
	}
	select {
	case err := <-v.ifs.broken:
		return fmt.Errorf("%w: %w", errIndex, err)
	default:
	}
	v.running.Store(true)
	if err := v.reserve.stock(); err != nil {
		v.out.Warn("no space is kept in reserve", "dir", v.opt.Dir, "error", err)
	}
	v.log.SetLimit(v.limit())
	if err := v.root(); err != nil {
		return err
	}
	if v.since >= flushEvery/4 {
		v.work.wake(wantFlush) // lest replays add up over short lives
	}
	v.work.start()
	v.scrub.start(v)
	return nil
}

// recoverAll opens log and index and brings the index to the end of the log. rebuild makes the
// index anew first.
func (v *Volume) recoverAll(rebuild bool) (live map[uint64]uint32, last uint64, err error) {
	v.empty()
	fs, dir := v.opt.FS, v.opt.Dir
	v.log, err = seglog.Open(seglog.Options{
		FS: fs, Dir: fs.PathJoin(dir, "log"), Volume: v.id.id, SegmentSize: v.id.segmentSize,
		Prewrite: v.id.segmentSize >= defaultSegmentSize,
		Reserve:  logReserve,
		Leap:     v.opt.leap,
		Failed:   func(err error) { v.stop(err) },
	})
	if err != nil {
		return nil, 0, err
	}
	if rebuild {
		from, err := v.mirror.rebuild()
		if err != nil {
			return nil, 0, err
		}
		v.out.Warn("the index is made anew", "dir", dir, "from", from)
	}
	v.ifs = &indexFS{FS: fs, running: &v.running, room: &v.reserve, second: &v.mirror,
		ended: make(chan struct{}), left: make(chan struct{}), broken: make(chan error, 1), failed: func(err error) { v.stop(err) }, force: func() error {
			if !v.running.Load() {
				return nil // recovery synced what it replays
			}
			return v.log.Sync()
		}}
	if v.index, err = openIndex(v.opt, v.ifs, fs.PathJoin(dir, "index")); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errIndex, err)
	}
	v.batch = v.index.NewBatch()
	if last, err = v.recoverUnless(v.ifs.broken); err != nil {
		return nil, 0, err
	}
	live, err = v.load()
	return live, last, err
}

// recoverUnless is recover, which is left alone once the index cannot be flushed: Pebble would hold
// its writes up for ever as soon as a few tables wait.
func (v *Volume) recoverUnless(broken <-chan error) (uint64, error) {
	type recovered struct {
		last uint64
		err  error
	}
	done := make(chan recovered, 1)
	go func() {
		last, err := v.recover()
		done <- recovered{last, err}
	}()
	select {
	case r := <-done:
		return r.last, r.err
	case err := <-broken:
		return 0, fmt.Errorf("%w: %w", errIndex, err)
	}
}

// closeAll closes what recoverAll opened.
func (v *Volume) closeAll() {
	v.leaveIndex()
	if v.log != nil {
		v.log.Close()
		v.log = nil
	}
}

// leaveIndex closes the index of an opening that failed. One that cannot be flushed would not close;
// it may write nothing more, because somebody else may open the volume.
func (v *Volume) leaveIndex() {
	if v.index != nil && v.stopped.Load() == nil {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			v.index.Close()
		}()
		select {
		case <-closed:
			v.index = nil
		case <-v.dead:
		}
	}
	if v.ifs != nil && v.stopped.Load() != nil && !v.ifs.hasEnded() {
		v.ifs.end()
	}
}

// abandon releases what a failed open holds.
func (v *Volume) abandon() {
	v.data.close()
	v.leaveIndex()
	v.mirror.done.Wait()
	if v.log != nil {
		v.log.Close()
	}
	if v.lock != nil {
		v.lock.Close()
	}
}

// stop ends the volume for ever: a write or sync failed.
func (v *Volume) stop(err error) {
	e := fmt.Errorf("%w: %w", store.ErrStopped, err)
	if v.stopped.CompareAndSwap(nil, &e) {
		close(v.dead)
		v.out.Error("volume stopped", "dir", v.opt.Dir, "error", err)
	}
}

// check returns why the volume cannot be used, nil when it can.
func (v *Volume) check() error {
	if e := v.stopped.Load(); e != nil {
		return *e
	}
	if v.closed.Load() {
		return fmt.Errorf("volume closed: %w", store.ErrStopped)
	}
	return nil
}

// Stopped returns the error that stopped the volume, nil while it runs.
func (v *Volume) Stopped() error {
	if e := v.stopped.Load(); e != nil {
		return *e
	}
	return nil
}

func (v *Volume) Info() store.Info { return v.id.info() }

// stopError makes an error of the log one of the store.
func (v *Volume) stopError(err error) error {
	if err != nil && errors.Is(err, seglog.ErrStopped) {
		v.stop(err)
		return v.Stopped()
	}
	return err
}

// Wait implements store.Volume.
func (v *Volume) Wait(p store.Pos) error { return v.stopError(v.log.Wait(uint64(p))) }

// OnDurable implements store.Volume.
func (v *Volume) OnDurable(p store.Pos, fn func(error)) {
	v.log.OnDurable(uint64(p), func(err error) { fn(v.stopError(err)) })
}

// Sync implements store.Volume.
func (v *Volume) Sync() error {
	if err := v.check(); err != nil {
		return err
	}
	return v.stopError(v.log.Sync())
}

// Close implements store.Volume.
func (v *Volume) Close() error {
	if v.closed.Swap(true) {
		return nil
	}
	v.pins.stop()
	v.scrub.close()
	v.work.stop()
	defer v.lock.Close()
	defer v.data.close()
	if err := v.Stopped(); err != nil {
		v.ifs.end()
		return err // the index may hang, or write what the log lacks
	}
	if err := v.stopError(v.log.Sync()); err != nil {
		v.ifs.end()
		return err
	}
	v.mirror.done.Wait()
	err := v.closeIndex()
	if e := v.Stopped(); e != nil {
		if !v.ifs.hasEnded() {
			v.ifs.end()
		}
		return e
	}
	if cerr := v.log.Close(); err == nil {
		err = v.stopError(cerr)
	}
	return err
}

// closeIndex flushes the index and closes it. On a full disk it is left as it was flushed last:
// the log has everything, and the next opening replays it.
func (v *Volume) closeIndex() error {
	err := v.flushNow()
	if errors.Is(err, store.ErrNoSpace) {
		v.out.Warn("closed without flushing the index: no space", "dir", v.opt.Dir)
		err = nil
		v.ifs.end()
	}
	// Pebble may wait for ever when its disk fails under it.
	closed := make(chan error, 1)
	go func() {
		v.batch.Close()
		closed <- v.index.Close()
	}()
	select {
	case cerr := <-closed:
		if err == nil && !v.ifs.hasEnded() && !vfs.IsNoSpaceError(cerr) {
			err = cerr
		}
	case <-v.ifs.left:
	case <-v.dead:
	}
	return err
}
