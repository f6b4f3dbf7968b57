package block

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
)

// countWindow is the weight of the regions that are counted in one pass over the chunk maps: each
// weighs 1, some 650 bytes of memory, and fullWeight more when its references are counted one by one.
const (
	countWindow = 1 << 18
	fullWeight  = 16
)

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
	w := newWindow(from, regionID{})
	err := w.load(c)
	if err == nil {
		err = w.count(c)
	}
	return w, err
}

// window is a range of regions whose references are counted.
type window struct {
	from, end regionID // end is open; zero: there is no end
	counts    map[regionID]*counted
	weight    int // of counts
}

func newWindow(from, end regionID) *window {
	return &window{from: from, end: end, counts: map[regionID]*counted{}}
}

// counted is what was counted of a region: references less the changes that the index has for it. Most sectors
// are referred to once, or died.
type counted struct {
	refs sectors // what is referred to
	died sectors // without full: changed by minus one
	full *region // nil as long as refs and died tell
}

// is returns the count of a sector.
func (x *counted) is(s int) int32 {
	if x.full != nil {
		return x.full[s]
	}
	n := int32(0)
	if x.refs.has(s) {
		n++
	}
	if x.died.has(s) {
		n++
	}
	return n
}

// fill has the sectors of a region counted one by one.
func (w *window) fill(x *counted) {
	if x.full != nil {
		return
	}
	full := new(region)
	for s := range full {
		full[s] = x.is(s)
	}
	x.full = full
	w.weight += fullWeight
}

// refer counts a reference.
func (w *window) refer(x *counted, s int) {
	if x.full == nil && x.refs.has(s) {
		w.fill(x)
	}
	if x.full != nil {
		x.full[s]++
	}
	x.refs.add(s)
}

// changed takes in what the index says of a sector, ahead of all references.
func (w *window) changed(x *counted, s int, by int32) {
	if x.full == nil && (by != -1 || x.died.has(s)) {
		w.fill(x)
	}
	if x.full != nil {
		x.full[s] -= by
	} else {
		x.died.add(s)
	}
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

func (w *window) at(id regionID) *counted {
	x := w.counts[id]
	if x == nil {
		x = new(counted)
		w.counts[id] = x
		w.weight++
	}
	return x
}

// load reads what the index says.
func (w *window) load(c *checker) error {
	for from := regionKey(nil, kCounts, w.from.container, w.from.region); from != nil; {
		var err error
		from, err = c.scanFrom(from, []byte{kCounts + 1}, func(key, value []byte) error { return w.loadRegion(c, key, value) })
		if err != nil && !errors.Is(err, errWindow) {
			return err
		}
	}
	return nil
}

// errWindow: the rest is for other windows.
var errWindow = errors.New("window is full")

// most is the weight that a window may have.
func (c *checker) most() int { return cmp.Or(c.weight, countWindow) }

func (w *window) loadRegion(c *checker, key, value []byte) error {
	id := regionID{be.Uint64(key[1:]), be.Uint16(key[9:])}
	if !w.holds(id) {
		return errWindow
	}
	if w.weight >= c.most() {
		w.end = id
		return errWindow
	}
	if !c.hasContainer(id) {
		return nil
	}
	x := w.at(id)
	if err := eachInterval(value, func(i interval) {
		for s := i.off; s < i.off+i.n; s++ {
			w.changed(x, int(s), i.change)
		}
	}); err != nil {
		c.found(Problem{What: fmt.Sprintf("reference counts of container %d region %d: %v", id.container, id.region, err)})
	}
	return nil
}

// shrink ends the window earlier when it holds much more than it may: the chunk maps refer to others
// than those whose counts changed.
func (w *window) shrink(most int) {
	if w.weight <= most+most/4 {
		return
	}
	ids := slices.SortedFunc(maps.Keys(w.counts), regionID.compare)
	weight := 0
	for i, id := range ids {
		own := 1
		if w.counts[id].full != nil {
			own += fullWeight
		}
		if weight += own; i == 0 || weight <= most {
			continue
		}
		w.end, w.weight = id, weight-own
		for _, id := range ids[i:] {
			delete(w.counts, id)
		}
		return
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
						w.refer(w.at(id), int(s%regionSects))
					}
				}
			}
		}
		all = all[:0]
		w.shrink(c.most())
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
	for id, x := range w.counts {
		c.counted = &id
		bytes += x.refs.count() * sectorSize
		for s := 0; s < regionSects; s++ {
			// What is left is references minus changes: one where they agree, none where
			// there is no data, or data that nothing refers to; the sum tells these apart.
			n := x.is(s)
			if n == 1 || n == 0 && !x.refs.has(s) {
				continue
			}
			e := s
			for e+1 < regionSects && x.is(e+1) == n && (n != 0 || x.refs.has(e+1)) {
				e++
			}
			c.found(Problem{What: fmt.Sprintf("container %d region %d, sectors %d to %d: reference count is off by %d",
				id.container, id.region, s, e, n-1)})
			s = e
		}
	}
	return bytes
}

// sectors is a set of sectors of a region.
type sectors [regionSects / 64]uint64

func (s *sectors) has(i int) bool { return s != nil && s[i/64]&(1<<(i%64)) != 0 }
func (s *sectors) add(i int)      { s[i/64] |= 1 << (i % 64) }

func (s *sectors) count() (n int64) {
	for _, x := range s {
		n += int64(bits.OnesCount64(x))
	}
	return n
}
