package block

import (
	"encoding/binary"
	"errors"
)

const (
	sectorSize  = 512
	regionSize  = 1 << 20
	regionSects = regionSize / sectorSize
)

var errCounts = errors.New("malformed reference counts")

// interval is a run of sectors of a region whose number of references is one
// plus change.
type interval struct {
	off, n uint32
	change int32
}

func appendInterval(b []byte, end uint32, i interval) []byte {
	b = binary.AppendUvarint(b, uint64(i.off-end))
	b = binary.AppendUvarint(b, uint64(i.n))
	return binary.AppendVarint(b, int64(i.change))
}

// eachInterval decodes a counts value.
func eachInterval(b []byte, fn func(interval)) error {
	end := uint32(0)
	for len(b) > 0 {
		gap, n1 := binary.Uvarint(b)
		if n1 <= 0 {
			return errCounts
		}
		n, n2 := binary.Uvarint(b[n1:])
		if n2 <= 0 {
			return errCounts
		}
		c, n3 := binary.Varint(b[n1+n2:])
		if n3 <= 0 || gap > regionSects || n > regionSects || uint64(end)+gap+n > regionSects {
			return errCounts
		}
		b = b[n1+n2+n3:]
		i := interval{end + uint32(gap), uint32(n), int32(c)}
		end = i.off + i.n
		fn(i)
	}
	return nil
}

// region is the changes of every sector of a region, as merging works on them.
type region [regionSects]int32

func (r *region) add(value []byte) error {
	return eachInterval(value, func(i interval) {
		for s := i.off; s < i.off+i.n; s++ {
			r[s] += i.change
		}
	})
}

func (r *region) encode(b []byte) []byte {
	end := uint32(0)
	for s := uint32(0); s < regionSects; {
		c := r[s]
		e := s + 1
		for e < regionSects && r[e] == c {
			e++
		}
		if c != 0 {
			b = appendInterval(b, end, interval{s, e - s, c})
			end = e
		}
		s = e
	}
	return b
}
