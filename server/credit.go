package server

import (
	"math/bits"
	"sync/atomic"
)

// creditSize is the payload one credit stands for [MS-SMB2] 3.1.5.2.
const creditSize = 64 << 10

// maxWindow bounds how far the highest message id a client may use can be ahead of the
// lowest it has not used (2^14 ids cost 2 KiB per connection).
const maxWindow = 1 << 14

// budget is the server-wide payload budget in credits. What clients hold, what
// unfinished requests have consumed and what replies on their way carry has all
// been taken from it.
type budget struct {
	total int64
	taken atomic.Int64
	conns atomic.Int64 // connections that share it
}

func newBudget(bytes int64) *budget { return &budget{total: bytes / creditSize} }

// take takes up to n credits and returns how many.
func (b *budget) take(n int) int {
	for {
		taken := b.taken.Load()
		room := b.total - taken
		if room <= 0 {
			return 0
		}
		if int64(n) > room {
			n = int(room)
		}
		if b.taken.CompareAndSwap(taken, taken+int64(n)) {
			return n
		}
	}
}

// force takes n credits even when there are none: a client must never be left
// without a credit. It overdraws by at most a credit per connection.
func (b *budget) force(n int) { b.taken.Add(int64(n)) }

func (b *budget) give(n int) { b.taken.Add(int64(-n)) }

// share is how many credits one connection may hold just now: all it wants while there is
// plenty, its part of the whole when there is not.
func (b *budget) share() int {
	if b.taken.Load() < b.total-b.total/4 {
		return maxWindow
	}
	return int(max(b.total/(b.conns.Load()+1), 1))
}

// window is Connection.CommandSequenceWindow [MS-SMB2] 3.3.1.7: the message ids a
// client may use. Ids below low have all been used, ids from high on were not
// granted; between them used holds a bit for each id that arrived out of order.
type window struct {
	low, high uint64
	free      int // unused ids in [low, high): the credits the client holds
	used      [maxWindow / 64]uint64
}

func newWindow() window { return window{high: 1, free: 1} }

// consume uses up n ids from id on; false when one of them is not the client's.
func (w *window) consume(id uint64, n int) bool {
	if id < w.low || id >= w.high || w.high-id < uint64(n) {
		return false
	}
	for i := id; i < id+uint64(n); i++ {
		if w.used[i/64%uint64(len(w.used))]&(1<<(i%64)) != 0 {
			return false
		}
	}
	for i := id; i < id+uint64(n); i++ {
		w.used[i/64%uint64(len(w.used))] |= 1 << (i % 64)
	}
	w.free -= n
	w.slide()
	return true
}

// slide moves low over the used ids that follow it and forgets them.
func (w *window) slide() {
	for w.low < w.high {
		word := &w.used[w.low/64%uint64(len(w.used))]
		run := bits.TrailingZeros64(^(*word >> (w.low % 64)))
		if run == 0 {
			return
		}
		run = min(run, int(64-w.low%64))
		*word &^= (1<<run - 1) << (w.low % 64)
		w.low += uint64(run)
	}
}

// room is how many ids can be granted while the window spans no more than limit.
func (w *window) room(limit int) int {
	return max(0, min(limit, maxWindow)-int(w.high-w.low))
}

// grant adds n ids; the caller has checked room.
func (w *window) grant(n int) {
	w.high += uint64(n)
	w.free += n
}
