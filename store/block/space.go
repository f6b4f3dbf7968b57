package block

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store/seglog"
)

// segment is what the volume knows of one segment of the log.
type segment struct {
	seq     uint64
	slot    uint32
	moved   bool // written by the cleaner
	sealed  bool
	cleaned bool      // something was moved out of it
	shunned time.Time // it could not be read; until then that is not tried again; guarded by space.mu
	data    []uint32  // bytes per region that ever held data; while it is being filled
	bytes   int64     // their sum
	live    int64     // bytes with references
}

// regionID names a region of a container.
type regionID struct {
	container uint64
	region    uint16
}

// space keeps count of what lives where.
type space struct {
	v *Volume

	places places

	mu     sync.RWMutex // guards all below; a leaf
	segs   map[uint64]*segment
	shared map[uint64][]sharing // of the regions of containers, as far as it is known
	live   int64
	held   int64  // what only snapshots keep, as Usage counted it last
	cur    uint64 // segment that records go to
	tally  *tally // while the volume opens
}

// sharing says whether something in a region has several references, or had.
type sharing uint8

const (
	sharingUnknown sharing = iota
	sharedNot
	sharedSome
)

// maxSharing bounds the containers whose sharing is kept in mind.
const maxSharing = 1 << 17

func (s *space) init(v *Volume) {
	s.v = v
	s.segs = map[uint64]*segment{}
	s.shared = map[uint64][]sharing{}
	s.places.init(v, v.opt.CacheSize/8)
}

// living returns the bytes with references.
func (s *space) living() int64 {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.live
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
			old.data = nil
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
	losing := losingRegions(changes)
	var counted map[regionID]*region
	for _, c := range changes {
		for c.n > 0 {
			id := regionID{c.container, uint16(c.off / regionSects)}
			in := c.off % regionSects
			n := min(c.n, regionSects-in)
			if c.by > 0 {
				s.setSharing(id, sharedSome)
			}
			if c.by > 0 && !losing[id] {
				c.off += n
				c.n -= n
				continue
			}
			shared, err := s.sharing(id)
			if err != nil {
				return err
			}
			if shared == sharedNot {
				if err := s.died(id, in, n); err != nil {
					return err
				}
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
						if err := s.died(id, i, 1); err != nil {
							return err
						}
					}
				}
			}
			c.off += n
			c.n -= n
		}
	}
	return nil
}

// losingRegions are those of changes that also add references where something may die: only
// there must added references be counted.
func losingRegions(changes []refChange) map[regionID]bool {
	if !slices.ContainsFunc(changes, func(c refChange) bool { return c.by > 0 }) {
		return nil
	}
	losing := map[regionID]bool{}
	for _, c := range changes {
		for off := c.off; c.by < 0 && off < c.off+c.n; off += regionSects - off%regionSects {
			losing[regionID{c.container, uint16(off / regionSects)}] = true
		}
	}
	return losing
}

// setSharing notes what is known of a region. Caller holds mu.
func (s *space) setSharing(id regionID, is sharing) {
	all := s.shared[id.container]
	if all == nil {
		if len(s.shared) >= maxSharing {
			for k := range s.shared {
				delete(s.shared, k)
				break
			}
		}
		all = make([]sharing, s.regions())
		s.shared[id.container] = all
	}
	all[id.region] = is
}

// sharing finds out about a region. Caller holds mu.
func (s *space) sharing(id regionID) (sharing, error) {
	if all := s.shared[id.container]; all != nil && all[id.region] != sharingUnknown {
		return all[id.region], nil
	}
	is, err := s.readSharing(id)
	if err == nil {
		s.setSharing(id, is)
	}
	return is, err
}

// readSharing looks a region up in the index.
func (s *space) readSharing(id regionID) (sharing, error) {
	b, err := s.v.get(regionKey(nil, kCounts, id.container, id.region))
	is := sharedNot
	if err == nil {
		err = eachInterval(b, func(i interval) {
			if i.change > 0 {
				is = sharedSome
			}
		})
	}
	return is, err
}

// prepare brings in what refs will ask for, as long as nobody waits for it.
func (s *space) prepare(changes []refChange) {
	for _, c := range changes {
		id := regionID{c.container, uint16(c.off / regionSects)}
		if c.container == unplaced || c.by > 0 {
			continue
		}
		s.mu.RLock()
		home := s.segs[id.container]
		all := s.shared[id.container]
		moved := home == nil || home.cleaned
		s.mu.RUnlock()
		if moved {
			s.places.of(id) //nolint:errcheck // refs meets the error again
		}
		if all != nil && all[id.region] != sharingUnknown {
			continue
		}
		if is, err := s.readSharing(id); err == nil {
			s.mu.Lock()
			if all := s.shared[id.container]; all == nil || all[id.region] == sharingUnknown {
				s.setSharing(id, is)
			}
			s.mu.Unlock()
		}
	}
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
func (s *space) died(id regionID, off, n uint32) error {
	rest := n
	home := s.segs[id.container]
	if home == nil || home.cleaned {
		runs, err := s.places.of(id)
		if err != nil {
			return err
		}
		for i := firstRun(runs, off); i < len(runs) && uint32(runs[i].off) < off+n; i++ {
			m := &runs[i]
			k := min(off+n, m.end()) - max(off, uint32(m.off))
			s.dead(s.segs[m.seq], k)
			rest -= k
		}
	}
	s.dead(home, rest)
	return nil
}

func (s *space) dead(g *segment, sectors uint32) {
	if g != nil {
		g.live -= int64(sectors) * sectorSize
		s.live -= int64(sectors) * sectorSize
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
		at, ok, err := s.places.find(id, in)
		if err != nil {
			return err
		}
		if !ok {
			return errNowhere
		}
		skip := off%regionSize - uint32(at.off)*sectorSize
		n := min(len(p), int(uint32(at.n)*sectorSize-skip))
		if err := s.v.log.ReadAt(at.seq, p[:n], at.place+skip); err != nil {
			return err
		}
		p = p[n:]
		off += uint32(n)
	}
	return nil
}

// where names the file that an address of a container lies in, and the place there.
func (s *space) where(container uint64, off uint32) string {
	seq, place := container, off
	if _, ok := s.v.log.Slot(container); !ok {
		at, ok, err := s.places.find(regionID{container, uint16(off / regionSize)}, off%regionSize/sectorSize)
		if err != nil || !ok {
			return fmt.Sprintf("segment %d, which is gone", container)
		}
		seq, place = at.seq, at.place+off%regionSize-uint32(at.off)*sectorSize
	}
	slot, ok := s.v.log.Slot(seq)
	if !ok {
		return fmt.Sprintf("segment %d, which is gone", seq)
	}
	return fmt.Sprintf("log/%08d.seg at %d", slot, place)
}
