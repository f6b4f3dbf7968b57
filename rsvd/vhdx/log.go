package vhdx

import (
	"bytes"
	"math"

	"gabion/protocol/dtyp"
)

// patch is one change that a replayed log makes: data, or n zeros.
type patch struct {
	off  int64
	data []byte
	n    int64
}

// replayed is what the active sequence of a log comes to.
type replayed struct {
	patches []patch
	size    int64 // the file must be at least this long
}

// logEntry is a valid entry of the log ([MS-VHDX] 2.3.1).
type logEntry struct {
	at, length, tail int64
	sequence         uint64
	flushed, last    uint64
	patches          []patch
}

// replayLog finds the active sequence in the bytes of a log ([MS-VHDX] 2.3.2).
func replayLog(log []byte, id dtyp.GUID, fileSize int64) (*replayed, error) {
	// Each byte may be part of few entries; a hostile log could ask for its whole
	// length at each of its sectors.
	budget := 4 * int64(len(log))
	var active []logEntry
	for at := int64(0); at < int64(len(log)); {
		seq := sequenceFrom(log, id, at, &budget)
		if budget < 0 {
			return nil, corrupt("log entries overlap")
		}
		if len(seq) == 0 {
			at += sectorSize
			continue
		}
		head := seq[len(seq)-1]
		if tail := tailOf(seq, head.tail); tail >= 0 && (len(active) == 0 || head.sequence > active[len(active)-1].sequence) {
			active = seq[tail:]
		}
		next := head.at + head.length
		if next <= at || next > int64(len(log)) {
			break // wrapped around
		}
		at = next
	}
	if len(active) == 0 {
		return nil, corrupt("log has no valid sequence")
	}
	head := active[len(active)-1]
	if head.flushed > math.MaxInt64 || head.last > MaxSize+MaxSize/8 || int64(head.flushed) > fileSize {
		return nil, corrupt("file of %d bytes is truncated, the log knew %d", fileSize, head.flushed)
	}
	r := &replayed{size: int64(head.last)}
	for _, e := range active {
		r.patches = append(r.patches, e.patches...)
	}
	for _, p := range r.patches {
		r.size = max(r.size, p.off+p.n)
	}
	return r, nil
}

// sequenceFrom reads entries from a candidate tail for as long as they continue
// each other.
func sequenceFrom(log []byte, id dtyp.GUID, at int64, budget *int64) []logEntry {
	var seq []logEntry
	for int64(len(seq)) < int64(len(log))/sectorSize && *budget >= 0 {
		e, ok := readEntry(log, id, at, budget)
		if !ok || len(seq) > 0 && e.sequence != seq[len(seq)-1].sequence+1 {
			break
		}
		seq = append(seq, e)
		at = (at + e.length) % int64(len(log))
	}
	return seq
}

func tailOf(seq []logEntry, tail int64) int {
	for i, e := range seq {
		if e.at == tail {
			return i
		}
	}
	return -1
}

// readEntry reads the entry at a log offset, which may wrap around.
func readEntry(log []byte, id dtyp.GUID, at int64, budget *int64) (e logEntry, ok bool) {
	h := log[at : at+sectorSize]
	e = logEntry{at: at, length: int64(le.Uint32(h[8:])), tail: int64(le.Uint32(h[12:])), sequence: le.Uint64(h[16:]),
		flushed: le.Uint64(h[48:]), last: le.Uint64(h[56:])}
	if string(h[:4]) != "loge" || e.length == 0 || e.length%sectorSize != 0 || e.length > int64(len(log)) ||
		e.sequence == 0 || dtyp.GUID(h[32:48]) != id {
		return e, false
	}
	if *budget -= e.length; *budget < 0 {
		return e, false
	}
	b := log[at:min(at+e.length, int64(len(log)))]
	if int64(len(b)) < e.length {
		b = append(bytes.Clone(b), log[:e.length-int64(len(b))]...)
	}
	if le.Uint32(b[4:]) != checksum(b, 4) {
		return e, false
	}
	return e, e.descriptors(b)
}

// descriptors reads what an entry changes. Data sectors follow the sectors of
// descriptors, in order.
func (e *logEntry) descriptors(b []byte) bool {
	const head, size = 64, 32
	n := int64(le.Uint32(b[24:]))
	data := roundUp(head+n*size, sectorSize)
	if data > int64(len(b)) {
		return false
	}
	for d := b[head : head+n*size]; len(d) > 0; d = d[size:] {
		p := patch{off: int64(le.Uint64(d[16:]))}
		if p.off < 0 || p.off%sectorSize != 0 || p.off > 2*MaxSize || le.Uint64(d[24:]) != e.sequence {
			return false
		}
		switch string(d[:4]) {
		case "zero":
			p.n = int64(le.Uint64(d[8:]))
			if p.n < 0 || p.n%sectorSize != 0 || p.n > 2*MaxSize {
				return false
			}
		case "desc":
			if data+sectorSize > int64(len(b)) {
				return false
			}
			s := b[data : data+sectorSize]
			if string(s[:4]) != "data" || le.Uint32(s[4:]) != uint32(e.sequence>>32) || le.Uint32(s[sectorSize-4:]) != uint32(e.sequence) {
				return false
			}
			p.n = sectorSize
			p.data = bytes.Clone(s)
			copy(p.data, d[8:16])
			copy(p.data[sectorSize-4:], d[4:8])
			data += sectorSize
		default:
			return false
		}
		e.patches = append(e.patches, p)
	}
	return data == int64(len(b))
}

// overlay shows b, which was read from file offset off, as the patches leave it.
func overlay(patches []patch, b []byte, off int64) {
	end := off + int64(len(b))
	for _, p := range patches {
		lo, hi := max(off, p.off), min(end, p.off+p.n)
		if lo >= hi {
			continue
		}
		if p.data == nil {
			clear(b[lo-off : hi-off])
		} else {
			copy(b[lo-off:hi-off], p.data[lo-p.off:])
		}
	}
}
