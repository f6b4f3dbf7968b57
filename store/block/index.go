package block

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// indexLogger passes on what Pebble has to say. A fatal error stops the volume;
// Pebble then goes on, but is asked for nothing more.
type indexLogger struct {
	log    *slog.Logger
	failed func(error)
}

func (indexLogger) Infof(string, ...any) {}
func (l indexLogger) Errorf(format string, args ...any) {
	l.log.Warn("index: " + fmt.Sprintf(format, args...))
}
func (l indexLogger) Fatalf(format string, args ...any) {
	l.failed(fmt.Errorf("index: "+format, args...))
}

// indexMemTables is how many tables in memory Pebble lets come together before it stalls.
const indexMemTables = 4

// openIndex opens Pebble in dir. fs is the indexFS.
func openIndex(o Options, fs *indexFS, dir string) (*pebble.DB, error) {
	cache := pebble.NewCache(o.CacheSize / 2)
	defer cache.Unref()
	opts := &pebble.Options{
		FS:                          fs,
		Cache:                       cache,
		Comparer:                    pebble.DefaultComparer,
		Merger:                      merger,
		DisableWAL:                  true,
		FormatMajorVersion:          pebble.FormatValueSeparation,
		MemTableSize:                uint64(o.memTable()),
		MemTableStopWritesThreshold: indexMemTables,
		L0CompactionThreshold:       4,
		L0StopWritesThreshold:       64,
		LBaseMaxBytes:               256 << 20,
		MaxOpenFiles:                1000,
		Logger:                      indexLogger{o.Logger, fs.failed},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) {
				if !fs.running.Load() && !pebble.IsCorruptionError(err) { // else who reads it says so
					fs.unopened(err)
				}
				if pebble.IsCorruptionError(err) && fs.bear() {
					return
				}
				if !vfs.IsNoSpaceError(err) && !errors.Is(err, errEnded) && !errors.Is(err, pebble.ErrCancelledCompaction) {
					fs.halt(err)
				}
			},
			// Who reads what is damaged hears of it. Pebble's own answer is Fatalf, which would
			// stop the volume, also while it opens and the mirror could take the index's place.
			DataCorruption: func(i pebble.DataCorruptionInfo) {
				o.Logger.Error("the index is damaged", "path", i.Path, "error", i.Details)
			},
		},
	}
	opts.Experimental.ValueSeparationPolicy = func() pebble.ValueSeparationPolicy { return pebble.ValueSeparationPolicy{} }
	for i := range opts.Levels {
		opts.Levels[i].BlockSize = 16 << 10
	}
	type opened struct {
		db  *pebble.DB
		err error
	}
	done := make(chan opened, 1)
	go func() {
		defer func() {
			// Pebble panics when it cannot sync its directory.
			if r := recover(); r != nil {
				done <- opened{err: fmt.Errorf("index: %v", r)}
			}
		}()
		db, err := pebble.Open(dir, opts)
		done <- opened{db, err}
	}()
	select {
	case o := <-done:
		return o.db, o.err
	case err := <-fs.broken:
		return nil, err // Pebble would wait for ever; the opening fails, and with it the process
	}
}

// get returns a copy of the value of an unversioned key, nil when absent.
func (v *Volume) get(key []byte) ([]byte, error) {
	b, closer, err := v.index.Get(key)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, v.indexError(err)
	}
	defer closer.Close()
	return append([]byte{}, b...), nil
}

// found is what a versioned lookup found.
type found struct {
	value   []byte // a copy; empty is a tombstone
	version uint64
	ok      bool // the key exists, perhaps as a tombstone
}

// live reports whether there is a value.
func (f found) live() bool { return f.ok && len(f.value) > 0 }

// find looks for the newest version of body that is at most max.
func (v *Volume) find(body []byte, max uint64) (found, error) {
	var buf [320]byte
	lower := at(append(buf[:0], body...), max)
	upper := append(append(make([]byte, 0, len(body)+9), body...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0)
	it, err := v.index.NewIter(&pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return found{}, v.indexError(err)
	}
	defer it.Close()
	if !it.First() {
		return found{}, v.indexError(it.Error())
	}
	value, err := it.ValueAndErr()
	if err != nil {
		return found{}, v.indexError(err)
	}
	_, version := versionOf(it.Key())
	return found{append([]byte(nil), value...), version, true}, nil
}

// scan calls fn for the keys that begin with prefix, from the key from on (nil:
// the first), until it returns false. Key and value are valid during the call only.
func (v *Volume) scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	s := scanner{v: v}
	defer s.close()
	return s.scan(prefix, from, fn)
}

// scanner scans several ranges of the index as it is at the first.
type scanner struct {
	v  *Volume
	it *pebble.Iterator
}

func (s *scanner) close() {
	if s.it != nil {
		s.it.Close()
	}
}

// bounds confines the iterator, and makes it the first time.
func (s *scanner) bounds(from, to []byte) error {
	if s.it != nil {
		s.it.SetBounds(from, to)
		return nil
	}
	it, err := s.v.index.NewIter(&pebble.IterOptions{LowerBound: from, UpperBound: to})
	if err != nil {
		return s.v.indexError(err)
	}
	s.it = it
	return nil
}

// scan is Volume.scan.
func (s *scanner) scan(prefix, from []byte, fn func(key, value []byte) (bool, error)) error {
	v := s.v
	if from == nil {
		from = prefix
	}
	if err := s.bounds(from, after(prefix)); err != nil {
		return err
	}
	it := s.it
	for ok := it.First(); ok; ok = it.Next() {
		value, err := it.ValueAndErr()
		if err != nil {
			return v.indexError(err)
		}
		more, err := fn(it.Key(), value)
		if err != nil || !more {
			return err
		}
	}
	return v.indexError(it.Error())
}

// scanVersions is scan over versioned keys as a reader with the version bound max sees
// them: the newest version of each, no tombstones.
func (v *Volume) scanVersions(prefix, from []byte, max uint64, fn func(body []byte, f found) (bool, error)) error {
	var last []byte
	return v.scan(prefix, from, func(key, value []byte) (bool, error) {
		body, version := versionOf(key)
		if version > max || (last != nil && string(last) == string(body)) {
			return true, nil
		}
		last = append(last[:0], body...)
		if len(value) == 0 {
			return true, nil
		}
		return fn(body, found{value, version, true})
	})
}

// indexError marks an error that came from the index: part of it cannot be read.
func (v *Volume) indexError(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("index: %w", err)
}
