package block

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
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
	c := &checker{v: v, how: how}
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
	regions int       // that a window may hold; 0: as many as there are between countWindow changed ones
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

// countWindow is how many regions are counted in one pass over the chunk maps.
const countWindow = 1 << 14

// counts checks the reference counts against the chunk maps.
func (c *checker) counts() error {
	var from regionID
	referred, more := int64(0), true
	for more {
		w, err := c.window(from)
		if err != nil {
			return err
		}
		referred += w.report(c)
		from, more = w.end, w.end != regionID{}
	}
	if referred != c.total {
		c.found(Problem{What: fmt.Sprintf("%d bytes are counted as living, %d are referred to", c.total, referred)})
	}
	return nil
}

// window counts the references of the next regions, from is the first of them.
func (c *checker) window(from regionID) (*window, error) {
	w := &window{from: from, counts: map[regionID]*region{}, refs: map[regionID]*sectors{}}
	err := w.load(c)
	if err == nil {
		err = w.count(c)
	}
	return w, err
}

// window is a range of regions whose references are counted.
type window struct {
	from, end regionID // end is open; zero: there is no end
	counts    map[regionID]*region
	refs      map[regionID]*sectors
}

func (a regionID) compare(b regionID) int {
	if c := cmp.Compare(a.container, b.container); c != 0 {
		return c
	}
	return cmp.Compare(a.region, b.region)
}

func (a regionID) less(b regionID) bool { return a.compare(b) < 0 }

func (w *window) holds(id regionID) bool {
	return !id.less(w.from) && (w.end == regionID{} || id.less(w.end))
}

func (w *window) at(id regionID) *region {
	r := w.counts[id]
	if r == nil {
		r = new(region)
		w.counts[id], w.refs[id] = r, new(sectors)
	}
	return r
}

// load reads what the index says, negated: counting must bring it to minus one.
func (w *window) load(c *checker) error {
	most := cmp.Or(c.regions, countWindow)
	for from := regionKey(nil, kCounts, w.from.container, w.from.region); from != nil; {
		var err error
		from, err = c.scanFrom(from, []byte{kCounts + 1}, func(key, value []byte) error { return w.loadRegion(c, most, key, value) })
		if err != nil && !errors.Is(err, errWindow) {
			return err
		}
	}
	return nil
}

// errWindow: the rest is for other windows.
var errWindow = errors.New("window is full")

func (w *window) loadRegion(c *checker, most int, key, value []byte) error {
	id := regionID{be.Uint64(key[1:]), be.Uint16(key[9:])}
	if len(w.counts) == most {
		w.end = id
		return errWindow
	}
	if !c.hasContainer(id) {
		return nil
	}
	r := w.at(id)
	if err := eachInterval(value, func(i interval) {
		for s := i.off; s < i.off+i.n; s++ {
			r[s] -= i.change
		}
	}); err != nil {
		c.found(Problem{What: fmt.Sprintf("reference counts of container %d region %d: %v", id.container, id.region, err)})
	}
	return nil
}

// shrink ends the window behind so many regions when it holds many more: the chunk maps refer to others
// than those whose counts changed.
func (w *window) shrink(most int) {
	if len(w.counts) <= most+most/4 {
		return
	}
	ids := slices.SortedFunc(maps.Keys(w.counts), regionID.compare)
	w.end = ids[most]
	for _, id := range ids[most:] {
		delete(w.counts, id)
		delete(w.refs, id)
	}
}

func (c *checker) hasContainer(id regionID) bool {
	if c.segs[id.container] {
		return true
	}
	runs, err := c.v.space.places.of(id)
	return err == nil && len(runs) > 0
}

// count adds what the chunk maps refer to.
func (w *window) count(c *checker) error {
	var all []state
	var body []byte
	flush := func() {
		var x [8]piece
		for b := range uint8(chunkBlocks) {
			for _, p := range runs(x[:0], all, b) {
				off, n := p.extent(b)
				for s := off; s < off+n; s++ {
					if id := (regionID{p.container, uint16(s / regionSects)}); w.holds(id) {
						w.at(id)[s%regionSects]++
						w.refs[id].add(int(s % regionSects))
					}
				}
			}
		}
		all = all[:0]
		if c.regions > 0 {
			w.shrink(c.regions)
		}
	}
	err := c.scan(kChunk, func(key, value []byte) error {
		b, version := versionOf(key)
		if string(b) != string(body) {
			flush()
			body = append(body[:0], b...)
		}
		m := new(chunkMap)
		if _, err := m.apply(value, nil); err == nil {
			all = append(all, state{version: version, m: m})
		}
		return nil
	})
	flush()
	return err
}

// report names the regions whose counts are wrong: where maps refer n times, the changes
// must say n-1. It returns how many bytes are referred to.
func (w *window) report(c *checker) int64 {
	bytes := int64(0)
	defer func() { c.counted = nil }()
	for id, r := range w.counts {
		c.counted = &id
		for s := 0; s < regionSects; s++ {
			// What is left is references minus changes: one where they agree, none where
			// there is no data, or data that nothing refers to; the sum tells these apart.
			if w.refs[id].has(s) {
				bytes += sectorSize
			}
			if r[s] == 1 || r[s] == 0 && !w.refs[id].has(s) {
				continue
			}
			e := s
			for e+1 < regionSects && r[e+1] == r[s] {
				e++
			}
			c.found(Problem{What: fmt.Sprintf("container %d region %d, sectors %d to %d: reference count is off by %d",
				id.container, id.region, s, e, r[s]-1)})
		}
	}
	return bytes
}

// sectors is a set of sectors of a region.
type sectors [regionSects / 64]uint64

func (s *sectors) has(i int) bool { return s != nil && s[i/64]&(1<<(i%64)) != 0 }
func (s *sectors) add(i int)      { s[i/64] |= 1 << (i % 64) }
