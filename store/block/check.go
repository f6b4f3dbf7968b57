package block

import (
	"errors"
	"fmt"
	"strings"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// Problem is one damage that a check found.
type Problem struct {
	File   store.FileID // 0 when it concerns no file
	Path   string       // of the file, if it is known
	Stream string
	Range  store.Range // of the stream; Len 0 when it is not about data
	What   string
}

func (p Problem) String() string {
	var b strings.Builder
	if p.File != 0 {
		fmt.Fprintf(&b, "file %d", p.File)
		if p.Path != "" {
			fmt.Fprintf(&b, " %q", p.Path)
		}
		if p.Stream != "" {
			fmt.Fprintf(&b, " stream %q", p.Stream)
		}
		if p.Range.Len > 0 {
			fmt.Fprintf(&b, " [%d,+%d)", p.Range.Off, p.Range.Len)
		}
		b.WriteString(": ")
	}
	return b.String() + p.What
}

// CheckOptions of Volume.Check.
type CheckOptions struct {
	// SkipData leaves out reading the data; structures and counts are checked.
	SkipData bool
	// Progress is called now and then with what was looked at and what there is.
	Progress func(done, total int64)
	// Found is called for each problem.
	Found func(Problem)
}

// Summary is what a check looked at.
type Summary struct {
	Files, Entries, Chunks, Snapshots int64
	Bytes                             int64 // of data read and verified
	Problems                          int64
}

// Check opens a stopped volume, verifies all of it and closes it.
func Check(opt Options, how CheckOptions) (Summary, error) {
	opt.Manual = true
	v, err := Open(opt)
	if err != nil {
		return Summary{}, err
	}
	sum, err := v.Check(how)
	return sum, errors.Join(err, v.Close())
}

// Rebuild opens a stopped volume with its index made anew: from the second index and the log
// since, or from the whole log where that is still there. What it finds is checked.
func Rebuild(opt Options, how CheckOptions) (Summary, error) {
	opt.rebuild = true
	return Check(opt, how)
}

// Check verifies the volume: the directory structure, every chunk map of every
// version and its data, and the reference counts. It looks at one state of the
// index; on a running volume data that moved on meanwhile is looked at again.
func (v *Volume) Check(how CheckOptions) (Summary, error) {
	if err := v.check(); err != nil {
		return Summary{}, err
	}
	c := &checker{v: v, how: how, weight: v.window}
	c.take()
	defer c.drop()
	if err := c.tables(); err != nil {
		return c.sum, err
	}
	for _, step := range []func() error{c.tree, c.chunks, c.counts} {
		if err := step(); err != nil {
			return c.sum, err
		}
	}
	return c.sum, nil
}

// take takes the state that is checked from now on: no change is half planned and none is
// made meanwhile.
func (c *checker) take() {
	v := c.v
	v.epoch.Lock()
	defer v.epoch.Unlock()
	c.hold(v.index.NewSnapshot())
	v.space.mu.RLock()
	defer v.space.mu.RUnlock()
	c.total = v.space.live
	c.segs = map[uint64]bool{}
	for seq := range v.space.segs {
		c.segs[seq] = true
	}
}

// checker is a check in progress.
type checker struct {
	v     *Volume
	how   CheckOptions
	snap  *pebble.Snapshot
	sum   Summary
	total int64
	segs  map[uint64]bool
	looks lookups
	known streamKnown
	bad   []keyRange        // of damaged tables of the index
	pacer func(n int) error // of a scrubber, ahead of reading n bytes
	owes  int               // bytes of keys and values that were read since it was asked

	indexed int64     // bytes of keys and values that a scrubber read
	weight  int       // of the regions that a window may hold, 0: countWindow
	counted *regionID // whose counts are being reported
}

func (c *checker) found(p Problem) {
	c.sum.Problems++
	if p.Path == "" && p.File != 0 && c.pacer == nil { // a scrubber asks for the path it has now
		p.Path = c.path(p.File)
	}
	if c.how.Found != nil {
		c.how.Found(p)
	}
}
