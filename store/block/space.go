package block

import (
	"errors"
	"sync"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store/seglog"
)

// segment is what the volume knows of one segment of the log.
type segment struct {
	seq    uint64
	slot   uint32
	moved  bool // written by the cleaner
	sealed bool
	data   []uint32 // bytes per region that ever held data
	bytes  int64    // their sum
	live   int64    // bytes with references
}

// regionID names a region of a container.
type regionID struct {
	container uint64
	region    uint16
}

// run is moved data: sectors [off, off+n) of a region lie at place of segment seq.
type run struct {
	off, n uint32
	seq    uint64
	place  uint32 // bytes
}

// space keeps count of what lives where.
type space struct {
	v *Volume

	mu     sync.RWMutex // guards all below; a leaf
	segs   map[uint64]*segment
	shared map[regionID]struct{} // regions where something has several references
	moved  map[regionID][]run
	hosted map[uint64]map[regionID]struct{} // by segment, what was moved there
	live   int64
	held   int64  // estimate of what only snapshots keep
	cur    uint64 // segment that records go to
}

func (s *space) init(v *Volume) {
	s.v = v
	s.segs = map[uint64]*segment{}
	s.shared = map[regionID]struct{}{}
	s.moved = map[regionID][]run{}
	s.hosted = map[uint64]map[regionID]struct{}{}
}

func (s *space) regions() int { return int((s.v.id.segmentSize + regionSize - 1) / regionSize) }

func segmentKey(seq uint64) []byte { return key64(nil, kSegment, seq) }

// record accounts for a record's payload. When the log went on to another segment
// it also writes the states of both to the batch; that is exact on replay too,
// because it follows from the log alone. Caller holds order.
func (s *space) record(b *pebble.Batch, seq uint64, addr uint32, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq != s.cur {
		if old := s.segs[s.cur]; old != nil {
			old.sealed = true
			b.Merge(segmentKey(s.cur), fieldBytes(field(nil, fSealed, 1), fRegionData, packU32(old.data)), nil)
		}
		slot, _ := s.v.log.Slot(seq)
		s.segs[seq] = &segment{seq: seq, slot: slot, data: make([]uint32, s.regions())}
		s.cur = seq
		b.Set(segmentKey(seq), field(nil, fSlot, uint64(slot)), nil)
		s.v.work.poke()
	}
	s.count(s.segs[seq], addr, n)
	s.v.wrote.data.Add(uint64(n))
}

// count adds payload at addr to a segment.
func (s *space) count(g *segment, addr uint32, n int) {
	g.bytes += int64(n)
	g.live += int64(n)
	s.live += int64(n)
	for n > 0 {
		r := addr / regionSize
		k := min(n, int((r+1)*regionSize-addr))
		g.data[r] += uint32(k)
		addr += uint32(k)
		n -= k
	}
}

func packU32(v []uint32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = le.AppendUint32(b, x)
	}
	return b
}

// refs updates the live bytes for changes of references that are about to be
// applied. Caller holds order.
func (s *space) refs(changes []refChange) error {
	if len(changes) == 0 {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var counted map[regionID]*region
	for _, c := range changes {
		for c.n > 0 {
			id := regionID{c.container, uint16(c.off / regionSects)}
			in := c.off % regionSects
			n := min(c.n, regionSects-in)
			if c.by > 0 {
				s.shared[id] = struct{}{}
			}
			if _, shared := s.shared[id]; !shared {
				s.died(id, in, n)
			} else {
				if counted == nil {
					counted = map[regionID]*region{}
				}
				if counted[id] == nil {
					r, err := s.counts(id)
					if err != nil {
						return err
					}
					counted[id] = r
				}
				for i := in; i < in+n; i++ {
					if counted[id][i] += c.by; counted[id][i] == -1 && c.by < 0 {
						s.died(id, i, 1)
					}
				}
			}
			c.off += n
			c.n -= n
		}
	}
	return nil
}

// counts reads the reference changes of a region.
func (s *space) counts(id regionID) (*region, error) {
	r := new(region)
	b, err := s.v.get(regionKey(nil, kCounts, id.container, id.region))
	if err == nil && b != nil {
		err = r.add(b)
	}
	return r, err
}

// died takes sectors that lost their last reference from their segment's live bytes.
func (s *space) died(id regionID, off, n uint32) {
	rest := n
	for _, m := range s.moved[id] {
		lo, hi := max(off, m.off), min(off+n, m.off+m.n)
		if lo < hi {
			if g := s.segs[m.seq]; g != nil {
				g.live -= int64(hi-lo) * sectorSize
				s.live -= int64(hi-lo) * sectorSize
			}
			rest -= hi - lo
		}
	}
	if g := s.segs[id.container]; g != nil {
		g.live -= int64(rest) * sectorSize
		s.live -= int64(rest) * sectorSize
	}
}

// read fills p from an address of a container, wherever that lies now.
func (s *space) read(container uint64, p []byte, off uint32) error {
	s.v.read.Add(uint64(len(p)))
	for range 100 {
		err := s.v.log.ReadAt(container, p, off)
		if !errors.Is(err, seglog.ErrGone) {
			return err
		}
		if err = s.readMoved(container, p, off); !errors.Is(err, seglog.ErrGone) {
			return err
		}
	}
	return errNowhere
}

var errNowhere = errors.New("its segment is gone")

// readMoved reads from the places that a container's runs were moved to.
func (s *space) readMoved(container uint64, p []byte, off uint32) error {
	for len(p) > 0 {
		id := regionID{container, uint16(off / regionSize)}
		in := off % regionSize / sectorSize
		s.mu.RLock()
		var at run
		for _, r := range s.moved[id] {
			if r.off <= in && in < r.off+r.n {
				at = r
				break
			}
		}
		s.mu.RUnlock()
		if at.seq == 0 {
			return errNowhere
		}
		skip := off%regionSize - at.off*sectorSize
		n := min(len(p), int(at.n*sectorSize-skip))
		if err := s.v.log.ReadAt(at.seq, p[:n], at.place+skip); err != nil {
			return err
		}
		p = p[n:]
		off += uint32(n)
	}
	return nil
}
