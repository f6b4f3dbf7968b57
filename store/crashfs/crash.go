package crashfs

import (
	"cmp"
	"maps"
	"math/rand/v2"
	"slices"
)

const sectorSize = 512

// Crash leaves in the base what a power cut now might leave: everything that was
// synced, and of every other page and name each with a chance of keep percent.
// Some of the pages that stay are torn, sector by sector. Afterwards the FS works
// in memory only; the store above must be closed before the base is used again.
// Only the first call counts.
func (fs *FS) Crash(rng *rand.Rand, keep int) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.detached {
		return nil
	}
	defer func() {
		fs.detached = true
		fs.unlock()
	}()
	order := slices.SortedFunc(maps.Keys(fs.changed), func(a, b *node) int { return cmp.Compare(a.serial, b.serial) })
	for _, n := range order {
		for _, i := range slices.Sorted(maps.Keys(n.pages)) {
			if rng.IntN(100) < keep {
				if err := fs.leave(n, i, rng); err != nil {
					return err
				}
			}
		}
	}
	for _, d := range order {
		for _, e := range slices.Sorted(maps.Keys(d.pending)) {
			if rng.IntN(100) < keep {
				if err := fs.settle(d, e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// settle makes one pending name durable. The old name of a rename goes with the
// new one's coming, which no journal separates.
func (fs *FS) settle(d *node, e string) error {
	if gone := d.pending[e]; d.children[e] == nil && gone != nil && gone.moved != nil {
		if _, ok := gone.moved.pending[gone.movedName]; ok && gone.moved.children[gone.movedName] == gone {
			if err := fs.commit(gone.moved, gone.movedName); err != nil {
				return err
			}
		}
	}
	if _, ok := d.pending[e]; !ok {
		return nil
	}
	return fs.commit(d, e)
}

// leave writes one page to the base, whole or torn.
func (fs *FS) leave(n *node, i int64, rng *rand.Rand) error {
	at := i * pageSize
	b := n.pages[i].b[:min(pageSize, n.size-at)]
	if rng.IntN(8) > 0 {
		return fs.writeBase(n, b, at)
	}
	for off := 0; off < len(b); off += sectorSize {
		if rng.IntN(2) == 0 {
			if err := fs.writeBase(n, b[off:min(off+sectorSize, len(b))], at+int64(off)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Detached reports whether Crash was called.
func (fs *FS) Detached() bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return fs.detached
}
