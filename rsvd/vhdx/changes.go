package vhdx

import "gabion/store"

// Changes tells in which parts of [off, off+n) two states of one disk may differ.
// diff are the ranges, in order, in which their files differ. It works because a
// block keeps its place in the file; where the table says otherwise, and where
// sectors may have gone from the parent's to this file's, the whole block counts.
func Changes(older, newer *Disk, diff []store.Range, off, n int64, to []store.Range) ([]store.Range, error) {
	n = min(n, newer.size.Load()-off)
	for n > 0 {
		c := newer.piece(off, n)
		e, was, err := entriesOf(older, newer, c.block)
		if err != nil {
			return to, err
		}
		switch {
		case off >= older.size.Load(): // grown
			to = appendRange(to, off, c.n)
		case e.state() == partial, newer.info.HasParent && e.state() != was.state(),
			e.state() < present && was.state() >= present,
			e.state() >= present && was.state() >= present && e.off() != was.off():
			to = appendRange(to, off, c.n)
		case e.state() == present && was.state() < present: // zeros before
			here, err := newer.Allocated(off, c.n, nil)
			if err != nil {
				return to, err
			}
			to = intersect(to, here, off, c.n, off, newer.sector)
		case e.state() == present:
			to = intersect(to, diff, e.off()+c.in, c.n, off, newer.sector)
		}
		off, n = off+c.n, n-c.n
	}
	return to, nil
}

func entriesOf(older, newer *Disk, block int64) (e, was entry, err error) {
	if e, err = newer.entry(newer.table.Load(), newer.payloadIndex(block)); err != nil {
		return 0, 0, err
	}
	if i := older.payloadIndex(block); i < older.table.Load().entries {
		was, err = older.entry(older.table.Load(), i)
	}
	return e, was, err
}

// intersect appends the parts of the diff inside n file bytes at from, moved to
// off and rounded to sectors.
func intersect(to, diff []store.Range, from, n, off, sector int64) []store.Range {
	lo, hi := 0, len(diff)
	for lo < hi { // the first range that ends behind from
		if mid := (lo + hi) / 2; diff[mid].Off+diff[mid].Len <= from {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	for _, r := range diff[lo:] {
		if r.Off >= from+n {
			break
		}
		first := max(r.Off-from, 0) / sector * sector
		end := min(roundUp(r.Off+r.Len-from, sector), n)
		if k := len(to); k > 0 && to[k-1].Off+to[k-1].Len > off+first {
			first = to[k-1].Off + to[k-1].Len - off
		}
		if first < end {
			to = appendRange(to, off+first, end-first)
		}
	}
	return to
}
