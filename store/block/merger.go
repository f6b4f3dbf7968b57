package block

import (
	"io"
	"math/bits"

	"github.com/cockroachdb/pebble/v2"
)

// merger is the merge operator of the index; the key's prefix says which.
var merger = &pebble.Merger{
	Name: "gabion.v1",
	Merge: func(key, value []byte) (pebble.ValueMerger, error) {
		m := &valueMerger{kind: key[0]}
		m.values = append(m.values, append([]byte(nil), value...))
		return m, nil
	},
}

// valueMerger collects operands, oldest first, and folds them at the end.
type valueMerger struct {
	kind   byte
	values [][]byte
	older  [][]byte // newest first
}

func (m *valueMerger) MergeNewer(value []byte) error {
	m.values = append(m.values, append([]byte(nil), value...))
	return nil
}

func (m *valueMerger) MergeOlder(value []byte) error {
	m.older = append(m.older, append([]byte(nil), value...))
	return nil
}

func (m *valueMerger) Finish(includesBase bool) ([]byte, io.Closer, error) {
	all := make([][]byte, 0, len(m.older)+len(m.values))
	for i := len(m.older) - 1; i >= 0; i-- {
		all = append(all, m.older[i])
	}
	all = append(all, m.values...)
	v, err := fold(m.kind, all, includesBase)
	return v, nil, err
}

// fold merges operands of a key with that prefix, oldest first.
func fold(kind byte, values [][]byte, base bool) ([]byte, error) {
	if len(values) == 1 {
		return values[0], nil
	}
	switch kind {
	case kChunk:
		return foldChunk(values)
	case kCounts:
		var r region
		for _, v := range values {
			if err := r.add(v); err != nil {
				return nil, err
			}
		}
		return r.encode(nil), nil
	}
	out := values[0]
	for _, v := range values[1:] {
		var err error
		if out, err = mergeFields(out, v); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// foldChunk overlays maps and deltas. Without a reset among them the result is a
// delta itself and must keep its holes.
func foldChunk(values [][]byte) ([]byte, error) {
	var m chunkMap
	var holes uint64
	full := false
	for _, v := range values {
		reset, err := m.apply(v, &holes)
		if err != nil {
			return nil, err
		}
		full = full || reset
	}
	if full {
		return m.encode(nil), nil
	}
	var b []byte
	for holes != 0 {
		lo := bits.TrailingZeros64(holes)
		n := bits.TrailingZeros64(^(holes >> lo))
		b = append(b, opHole, byte(lo), byte(n-1))
		holes &^= (^uint64(0) >> (64 - n)) << lo
	}
	for _, p := range m.pieces {
		b = appendPiece(b, p, m.crc[p.block:])
	}
	return b, nil
}
