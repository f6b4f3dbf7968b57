package rsvd

import (
	"encoding/binary"
	"time"

	"gabion/protocol/dtyp"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

// copier lets guests copy by token. A token stands for a pin of the container as it was: one
// record, whatever the size, that lasts over a restart.
type copier struct{ d *disk }

var _ scsi.Copier = copier{}

// noteMark begins the notes of our pins: nobody else's tokens are tokens of a guest.
const noteMark = "rsvd1"

// Freeze implements scsi.Copier. A layer of a chain cannot be read without the others.
func (c copier) Freeze(id [16]byte, secret []byte, ranges []store.Range, life time.Duration) (store.Pos, error) {
	if c.d.medium.Info().HasParent {
		return 0, scsi.ErrNoCopy
	}
	data, err := c.d.node.Data()
	if err != nil {
		return 0, err
	}
	defer data.Close()
	note := append([]byte(noteMark), byte(len(secret)))
	note = append(note, secret...)
	for _, r := range ranges {
		note = binary.BigEndian.AppendUint64(note, uint64(r.Off))
		note = binary.BigEndian.AppendUint64(note, uint64(r.Len))
	}
	_, pos, err := c.d.vol.Pins().Add(store.Pin{
		ID: id, Range: store.Range{Len: data.Sizes().Size}, Expires: dtyp.FiletimeOf(c.d.svc.opt.Now().Add(life)), Note: note,
	}, data)
	return pos, err
}

// Frozen implements scsi.Copier.
func (c copier) Frozen(id [16]byte) (scsi.Frozen, error) {
	pin, data, err := c.d.vol.Pins().Use(id)
	if err != nil {
		return nil, err
	}
	f, ok := decodeNote(pin.Note)
	if !ok {
		data.Close()
		return nil, store.ErrNotFound
	}
	if f.box, err = vhdx.Open(data, vhdx.Options{ReadOnly: true}); err != nil {
		data.Close()
		return nil, err
	}
	return f, nil
}

// Thaw implements scsi.Copier.
func (c copier) Thaw(id [16]byte) { _, _ = c.d.vol.Pins().Release(id) }

// frozen is a disk as it was, in the part that a token stands for.
type frozen struct {
	box    *vhdx.Disk
	secret []byte
	ranges []store.Range
	size   int64
}

func decodeNote(b []byte) (*frozen, bool) {
	const head = len(noteMark) + 1
	if len(b) < head || string(b[:len(noteMark)]) != noteMark || len(b) < head+int(b[head-1]) {
		return nil, false
	}
	f := &frozen{secret: b[head : head+int(b[head-1])]}
	for b = b[head+len(f.secret):]; len(b) >= 16; b = b[16:] {
		r := store.Range{Off: int64(binary.BigEndian.Uint64(b)), Len: int64(binary.BigEndian.Uint64(b[8:]))}
		f.ranges = append(f.ranges, r)
		f.size += r.Len
	}
	return f, len(b) == 0
}

func (f *frozen) Size() int64    { return f.size }
func (f *frozen) Secret() []byte { return f.secret }
func (f *frozen) Close()         { f.box.Close() }

// ReadAt reads the ranges as if they were one behind the other.
func (f *frozen) ReadAt(p []byte, off int64) error {
	for _, r := range f.ranges {
		if off >= r.Len {
			off -= r.Len
			continue
		}
		n := min(int64(len(p)), r.Len-off)
		if err := f.box.ReadAt(p[:n], r.Off+off); err != nil {
			return err
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		off = 0
	}
	return vhdx.ErrRange
}
