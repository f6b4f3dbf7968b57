package seglog

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// handles keeps few of the segment files open at once. A slot's file stays open while
// somebody holds it; beyond that those used lately stay, up to max.
type handles struct {
	fs   vfs.FS
	path func(num uint32) string
	max  int

	mu   sync.Mutex // guards the rest, and opening and closing
	open []*slot
	hand int // of the clock that chooses what is closed
}

// defaultHandles leaves room below the 1,024 descriptors that a process may be given.
const defaultHandles = 384

// shut is added to the users of a slot while its file is closed.
const shut = int64(-1) << 40

// handle is a slot's file and who uses it.
type handle struct {
	users atomic.Int64
	file  atomic.Pointer[vfs.File] // nil while it is closed; valid while there are users
	used  atomic.Bool              // since the clock's hand last passed
	gone  bool                     // the file was removed; guarded by handles.mu
}

// hold opens the slot's file, unless it is open, and keeps it so until release.
func (h *handles) hold(s *slot) (vfs.File, error) {
	if s.users.Add(1) > 0 {
		if f := s.file.Load(); f != nil {
			if !s.used.Load() {
				s.used.Store(true)
			}
			return *f, nil
		}
	}
	s.users.Add(-1)
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.gone {
		return nil, ErrGone // opening would make it anew
	}
	s.users.Add(1)
	if f := s.file.Load(); f != nil {
		return *f, nil
	}
	f, err := h.fs.OpenReadWrite(h.path(s.num), vfs.WriteCategoryUnspecified)
	if err != nil {
		s.users.Add(-1)
		return nil, err
	}
	h.addLocked(s, f)
	return f, nil
}

func (s *slot) release() { s.users.Add(-1) }

// add takes over the open file of a slot.
func (h *handles) add(s *slot, f vfs.File) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.users.Add(1)
	h.addLocked(s, f)
	s.users.Add(-1)
}

// addLocked is add. Caller holds mu and the slot.
func (h *handles) addLocked(s *slot, f vfs.File) {
	s.used.Store(true)
	s.file.Store(&f)
	h.open = append(h.open, s)
	for steps := 2 * len(h.open); len(h.open) > h.max && steps > 0; steps-- {
		h.hand %= len(h.open)
		if o := h.open[h.hand]; !o.used.Swap(false) && o.users.CompareAndSwap(0, shut) {
			h.close(o) //nolint:errcheck // nothing is unsynced: writers hold what they wrote
			o.users.Add(-shut)
			h.forget(h.hand)
			continue
		}
		h.hand++
	}
}

// close closes a slot's file. Caller holds mu.
func (h *handles) close(s *slot) error {
	f := s.file.Swap(nil)
	if f == nil {
		return nil
	}
	return (*f).Close()
}

// forget takes place i out of the ring. Caller holds mu.
func (h *handles) forget(i int) {
	last := len(h.open) - 1
	h.open[i] = h.open[last]
	h.open[last] = nil
	h.open = h.open[:last]
}

// drop closes the file of a slot that is about to go.
func (h *handles) drop(s *slot) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.gone = true
	for i, o := range h.open {
		if o == s {
			h.forget(i)
			break
		}
	}
	return h.close(s)
}

// closeAll closes everything, used or not.
func (h *handles) closeAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, s := range h.open {
		h.close(s) //nolint:errcheck // as above
	}
	h.open = nil
}
