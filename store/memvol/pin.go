package memvol

import (
	"fmt"
	"slices"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// pin keeps a copy of a stream's block map. It is not changed once it is listed.
type pin struct {
	store.Pin
	data *data
	view store.View
}

type pins struct{ v *Volume }

// Pins implements store.Volume.
func (v *Volume) Pins() store.Pins { return pins{v} }

// expire drops what is past its time. Caller holds mu.
func (v *Volume) expire() {
	now := dtyp.FiletimeOf(v.opt.Now())
	v.pins = slices.DeleteFunc(v.pins, func(p *pin) bool { return p.Expires <= now })
}

// pin finds a pin. Caller holds mu.
func (v *Volume) pin(id store.PinID) (int, error) {
	v.expire()
	i := slices.IndexFunc(v.pins, func(p *pin) bool { return p.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("pin: %w", store.ErrNotFound)
	}
	return i, nil
}

func (s pins) Add(p store.Pin, from store.Stream) (store.Pin, store.Pos, error) {
	v := s.v
	h, ok := from.(*handle)
	if !ok || h.n.v != v {
		return p, 0, fmt.Errorf("stream of another volume: %w", store.ErrInvalid)
	}
	if err := span(p.Range.Off, p.Range.Len); err != nil {
		return p, 0, err
	}
	if err := v.enter("Pins.Add"); err != nil {
		return p, 0, err
	}
	defer v.mu.Unlock()
	if len(h.n.links) == 0 {
		return p, 0, fmt.Errorf("file %d: %w", h.n.id, store.ErrNotFound)
	}
	if p.Range.Off+p.Range.Len > h.s.size {
		return p, 0, fmt.Errorf("pin [%d,+%d) of %d bytes: %w", p.Range.Off, p.Range.Len, h.s.size, store.ErrInvalid)
	}
	if _, err := v.pin(p.ID); err == nil {
		return p, 0, fmt.Errorf("pin: %w", store.ErrExist)
	}
	if len(v.pins) >= store.MaxPins {
		v.pins = v.pins[1:]
	}
	p.File, p.Stream, p.Taken, p.Note = h.n.id, h.s.name, dtyp.FiletimeOf(v.opt.Now()), slices.Clone(p.Note)
	v.last++
	d := h.s.data.clone()
	v.pins = append(v.pins, &pin{p, &d, v.last})
	return p, v.done(), nil
}

func (s pins) Use(id store.PinID) (store.Pin, store.Stream, error) {
	v := s.v
	if err := v.enter("Pins.Use"); err != nil {
		return store.Pin{}, nil, err
	}
	defer v.mu.Unlock()
	i, err := v.pin(id)
	if err != nil {
		return store.Pin{}, nil, err
	}
	p := v.pins[i]
	n := &node{v: v, view: p.view, inode: &inode{id: p.File}}
	return p.Pin, &handle{n, &stream{name: p.Stream, data: *p.data}}, nil
}

func (s pins) Renew(id store.PinID, expires dtyp.Filetime) (store.Pos, error) {
	return s.edit("Pins.Renew", id, func(i int) {
		p := *s.v.pins[i]
		p.Expires = expires
		s.v.pins[i] = &p
	})
}

func (s pins) Release(id store.PinID) (store.Pos, error) {
	return s.edit("Pins.Release", id, func(i int) { s.v.pins = slices.Delete(s.v.pins, i, i+1) })
}

func (s pins) edit(method string, id store.PinID, fn func(i int)) (store.Pos, error) {
	if err := s.v.enter(method); err != nil {
		return 0, err
	}
	defer s.v.mu.Unlock()
	i, err := s.v.pin(id)
	if err != nil {
		return 0, err
	}
	fn(i)
	return s.v.done(), nil
}

func (s pins) List() ([]store.Pin, error) {
	if err := s.v.enter("Pins.List"); err != nil {
		return nil, err
	}
	defer s.v.mu.Unlock()
	s.v.expire()
	var out []store.Pin
	for _, p := range s.v.pins {
		out = append(out, p.Pin)
	}
	return out, nil
}
