package block

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// pin is one pin: a hidden snapshot of the file, or the snapshot that the source lies
// in, and a record that names it. It is not changed once it is in the table.
type pin struct {
	store.Pin
	no   uint32 // of the stream
	view uint64
}

func pinKey(id store.PinID) []byte { return append([]byte{kPin}, id[:]...) }

func (p *pin) encode() []byte {
	b := field(nil, fTime, uint64(p.Taken))
	b = field(b, fSrcFile, uint64(p.File))
	b = field(b, fSrcStream, uint64(p.no))
	b = field(b, fSrcView, p.view)
	b = fieldNZ(b, fPinOff, uint64(p.Range.Off))
	b = fieldNZ(b, fPinLen, uint64(p.Range.Len))
	b = field(b, fExpires, uint64(p.Expires))
	b = fieldBytes(b, fName, p.Stream)
	return fieldBytes(b, fNote, p.Note)
}

func decodePin(key, value []byte) (*pin, error) {
	p := new(pin)
	if len(key) != 1+len(p.ID) {
		return nil, errFields
	}
	copy(p.ID[:], key[1:])
	err := eachField(value, func(id byte, v uint64, data []byte) {
		switch id {
		case fTime:
			p.Taken = dtyp.Filetime(v)
		case fSrcFile:
			p.File = store.FileID(v)
		case fSrcStream:
			p.no = uint32(v)
		case fSrcView:
			p.view = v
		case fPinOff:
			p.Range.Off = int64(v)
		case fPinLen:
			p.Range.Len = int64(v)
		case fExpires:
			p.Expires = dtyp.Filetime(v)
		case fName:
			p.Stream = string(data)
		case fNote:
			p.Note = slices.Clone(data)
		}
	})
	return p, err
}

// pinTable holds all pins. It changes with Volume.epoch held for writing, or while the
// volume opens; mu lets readers in meanwhile.
type pinTable struct {
	v *Volume

	mu     sync.Mutex     // guards the rest; a leaf
	byAge  []*pin         // oldest first
	views  map[uint64]int // how many pins and uses of pins need a view
	alarm  *time.Timer    // for the first that expires
	closed bool
}

func (t *pinTable) init(v *Volume) {
	t.v = v
	t.views = map[uint64]int{}
}

func (t *pinTable) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.alarm != nil {
		t.alarm.Stop()
	}
}

// names reports whether a pin, or somebody who uses one, needs a view.
func (t *pinTable) names(view uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.views[view] > 0
}

// find returns a pin, nil when there is none. Caller holds mu.
func (t *pinTable) find(id store.PinID) *pin {
	for _, p := range t.byAge {
		if p.ID == id {
			return p
		}
	}
	return nil
}

func (t *pinTable) lookup(id store.PinID) *pin {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.find(id)
}

// change takes pins out and puts others in. One that takes the place of another keeps
// its age.
func (t *pinTable) change(gone []*pin, new ...*pin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range new {
		t.views[p.view]++
	}
	for _, p := range gone {
		t.byAge = slices.DeleteFunc(t.byAge, func(q *pin) bool { return q == p })
		t.unname(p.view)
	}
	t.byAge = append(t.byAge, new...)
	slices.SortStableFunc(t.byAge, func(a, b *pin) int { return int(int64(a.Taken) - int64(b.Taken)) })
	t.arm()
}

// unname takes a need of a view back. Caller holds mu.
func (t *pinTable) unname(view uint64) {
	if t.views[view]--; t.views[view] == 0 {
		delete(t.views, view)
		t.v.pendings.unpinned.Store(true)
		t.v.work.poke()
	}
}

// arm sets the alarm for the first pin that expires. Caller holds mu.
func (t *pinTable) arm() {
	if t.alarm != nil {
		t.alarm.Stop()
		t.alarm = nil
	}
	if len(t.byAge) == 0 || t.closed || t.v.opt.Manual {
		return
	}
	first := t.byAge[0].Expires
	for _, p := range t.byAge {
		first = min(first, p.Expires)
	}
	wait := first.Time().Sub(t.v.opt.Now())
	t.alarm = time.AfterFunc(max(wait, 0)+time.Millisecond, t.v.work.poke)
}

// due returns the pins that have expired.
func (t *pinTable) due() (list []*pin) {
	now := dtyp.FiletimeOf(t.v.opt.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.byAge {
		if p.Expires <= now {
			list = append(list, p)
		}
	}
	return list
}

// oldest returns the pin that gives way first, nil when there is none.
func (t *pinTable) oldest() *pin {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.byAge) == 0 {
		return nil
	}
	return t.byAge[0]
}

func (t *pinTable) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byAge)
}

// expirePins drops what has expired and reports whether there was any.
func (v *Volume) expirePins() (bool, error) {
	if len(v.pins.due()) == 0 {
		return false, nil
	}
	v.epoch.Lock()
	defer v.epoch.Unlock()
	due := v.pins.due()
	return len(due) > 0, v.dropPins(due)
}

// evictPin drops the oldest pin for the sake of space and reports whether there was one.
func (v *Volume) evictPin() (bool, error) {
	v.epoch.Lock()
	defer v.epoch.Unlock()
	p := v.pins.oldest()
	if p == nil {
		return false, nil
	}
	v.out.Info("a pin gives way to writes", "file", p.File, "taken", p.Taken.Time())
	return true, v.dropPins([]*pin{p})
}

// dropPins removes pins. Caller holds epoch for writing.
func (v *Volume) dropPins(list []*pin) error {
	if len(list) == 0 {
		return nil
	}
	c := newChange()
	defer c.free()
	for _, p := range list {
		c.del(pinKey(p.ID))
	}
	if _, err := v.commit(c); err != nil {
		return err
	}
	v.pins.change(list)
	return nil
}

func (v *Volume) loadPins() error {
	var all []*pin
	err := v.scan([]byte{kPin}, nil, func(key, value []byte) (bool, error) {
		p, err := decodePin(key, value)
		all = append(all, p)
		return err == nil, err
	})
	v.pins.change(nil, all...)
	return err
}

// pins implements store.Pins.
type pins struct{ v *Volume }

// Pins implements store.Volume.
func (v *Volume) Pins() store.Pins { return pins{v} }

// Add implements store.Pins.
func (s pins) Add(sp store.Pin, from store.Stream) (store.Pin, store.Pos, error) {
	v := s.v
	h := handleOf(from)
	if h == nil || h.n.v != v {
		return sp, 0, fmt.Errorf("stream of another volume: %w", store.ErrInvalid)
	}
	if err := span(sp.Range.Off, sp.Range.Len); err != nil {
		return sp, 0, err
	}
	if err := v.admit(addsNames); err != nil {
		return sp, 0, err
	}
	sp.File, sp.Stream, sp.Note = h.n.id, h.Name(), slices.Clone(sp.Note)
	p := &pin{Pin: sp, no: h.no}
	v.epoch.Lock()
	defer v.epoch.Unlock()
	pos, err := v.addPin(p, h.stream)
	return p.Pin, pos, err
}

// addPin takes a hidden snapshot for a pin of the live file and records both; a pin of what
// a snapshot shows names that snapshot. Caller holds epoch for writing.
func (v *Volume) addPin(p *pin, from *stream) (store.Pos, error) {
	if from.n.view == store.Live && from.n.gone.Load() {
		return 0, fmt.Errorf("file %d: %w", from.n.id, store.ErrNotFound)
	}
	if p.Range.Off+p.Range.Len > from.size.Load() {
		return 0, fmt.Errorf("pin [%d,+%d) of %d bytes: %w", p.Range.Off, p.Range.Len, from.size.Load(), store.ErrInvalid)
	}
	if v.pins.lookup(p.ID) != nil {
		return 0, fmt.Errorf("pin: %w", store.ErrExist)
	}
	c := newChange()
	defer c.free()
	var gone []*pin
	if v.pins.count() >= store.MaxPins {
		gone = append(gone, v.pins.oldest())
		c.del(pinKey(gone[0].ID))
	}
	p.Taken = dtyp.FiletimeOf(v.opt.Now())
	var hidden *snapshot
	if view := uint64(from.n.view); from.n.view != store.Live {
		if sn := v.snaps.find(view); sn == nil || sn.doomed {
			return 0, fmt.Errorf("snapshot %d: %w", view, store.ErrNotFound)
		}
		p.view = view
	} else {
		hidden = &snapshot{id: v.version + 1, hidden: true, taken: p.Taken, scope: []store.FileID{p.File}}
		p.view = hidden.id
		c.set(counterKey("version"), le.AppendUint64(nil, hidden.id))
		c.set(snapKey(hidden.id), hidden.encode())
		v.coverBy(c, []*inode{from.n}, hidden.id)
	}
	c.set(pinKey(p.ID), p.encode())
	pos, err := v.commit(c)
	if err != nil {
		return 0, err
	}
	if hidden != nil {
		v.covered([]*inode{from.n}, hidden)
	}
	v.pins.change(gone, p)
	return pos, nil
}

// use is the stream of a pin, whose view it keeps until it is closed.
type use struct {
	*handle
	pin  *pin
	once sync.Once
}

// Close implements store.Stream.
func (u *use) Close() {
	u.once.Do(func() {
		u.handle.Close()
		t := &u.handle.n.v.pins
		t.mu.Lock()
		t.unname(u.pin.view)
		t.mu.Unlock()
	})
}

// Use implements store.Pins.
func (s pins) Use(id store.PinID) (store.Pin, store.Stream, error) {
	v := s.v
	if err := v.check(); err != nil {
		return store.Pin{}, nil, err
	}
	now := dtyp.FiletimeOf(v.opt.Now())
	t := &v.pins
	t.mu.Lock()
	p := t.find(id)
	if p == nil || p.Expires <= now {
		t.mu.Unlock()
		return store.Pin{}, nil, fmt.Errorf("pin: %w", store.ErrNotFound)
	}
	t.views[p.view]++
	t.mu.Unlock()
	h, err := v.pinned(p)
	if err != nil {
		t.mu.Lock()
		t.unname(p.view)
		t.mu.Unlock()
		return store.Pin{}, nil, err
	}
	return p.Pin, &use{handle: h, pin: p}, nil
}

// pinned opens the stream of a pin in its view.
func (v *Volume) pinned(p *pin) (*handle, error) {
	n, err := v.open1(p.File, store.View(p.view), true)
	if err != nil {
		return nil, err
	}
	defer n.release() // the handle holds its own
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.data != nil && n.data.no == p.no {
		return n.data.openHandle(), nil
	}
	st, err := n.stream(streamEntry{p.Stream, p.no})
	if err != nil {
		return nil, err
	}
	return st.openHandle(), nil
}

// Renew implements store.Pins.
func (s pins) Renew(id store.PinID, expires dtyp.Filetime) (store.Pos, error) {
	return s.edit(id, func(c *change, p *pin) []*pin {
		q := *p
		q.Expires = expires
		c.set(pinKey(id), q.encode())
		return []*pin{&q}
	})
}

// Release implements store.Pins.
func (s pins) Release(id store.PinID) (store.Pos, error) {
	return s.edit(id, func(c *change, p *pin) []*pin {
		c.del(pinKey(id))
		return nil
	})
}

// edit replaces a pin by what plan returns.
func (s pins) edit(id store.PinID, plan func(*change, *pin) []*pin) (store.Pos, error) {
	v := s.v
	if err := v.admit(0); err != nil {
		return 0, err
	}
	v.epoch.Lock()
	defer v.epoch.Unlock()
	p := v.pins.lookup(id)
	if p == nil {
		return 0, fmt.Errorf("pin: %w", store.ErrNotFound)
	}
	c := newChange()
	defer c.free()
	new := plan(c, p)
	pos, err := v.commit(c)
	if err == nil {
		v.pins.change([]*pin{p}, new...)
	}
	return pos, err
}

// List implements store.Pins.
func (s pins) List() ([]store.Pin, error) {
	if err := s.v.check(); err != nil {
		return nil, err
	}
	now := dtyp.FiletimeOf(s.v.opt.Now())
	t := &s.v.pins
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []store.Pin
	for _, p := range t.byAge {
		if p.Expires > now {
			out = append(out, p.Pin)
		}
	}
	return out, nil
}
