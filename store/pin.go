package store

import "gabion/protocol/dtyp"

// MaxPins bounds the pins of a volume: beyond it the oldest goes.
const MaxPins = 1024

// PinID names a pin. Its maker chooses it; it is no secret to the store.
type PinID [16]byte

// Pin holds one range of one stream as it was at one instant, whatever becomes
// of the stream, its file and every handle on them. What offload tokens stand for.
type Pin struct {
	ID      PinID
	File    FileID
	Stream  string // name, "" for the unnamed one
	Range   Range
	Taken   dtyp.Filetime
	Expires dtyp.Filetime
	Note    []byte // the maker's, returned as given
}

// Pins are the pins of a volume. They last over a restart, no snapshot and no
// restore touches them, and what only they keep counts as Space.SnapshotHeld. A
// pin goes when it is released, when it expires, when there are more than MaxPins,
// and, oldest first, before a write is refused for want of space.
type Pins interface {
	// Add pins p.Range of s, a stream of a file in any view, which must lie within its
	// size: one durable record, whatever the length. p.Taken, p.File and p.Stream are filled
	// in. ErrExist when the id is taken, ErrNotFound when
	// the file has no name any more.
	Add(p Pin, s Stream) (Pin, Pos, error)
	// Use returns a pin and the stream it was taken of, as it was then and
	// read-only; ErrNotFound when it is gone or expired. Until the Stream is closed it
	// stays readable, even if the pin goes meanwhile.
	Use(id PinID) (Pin, Stream, error)
	// Renew moves the end of a pin's life.
	Renew(id PinID, expires dtyp.Filetime) (Pos, error)
	// Release gives a pin up; ErrNotFound when it is gone already.
	Release(id PinID) (Pos, error)
	// List returns the pins that are left, oldest first.
	List() ([]Pin, error)
}
