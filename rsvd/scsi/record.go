package scsi

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"
)

// Record is what survives of a unit: it is saved whole at each change.
type Record struct {
	State      State
	Attentions []Attention
}

// ErrRecord is returned for a record that cannot be one.
var ErrRecord = errors.New("scsi: malformed reservation record")

const (
	recordVersion = 1
	recordFixed   = 1 + 1 + 1 + 4 + 16 + 2 + 2
	registerSize  = 16 + 8
	attentionSize = 16 + 3
)

// AppendTo appends the record: version, flags, type, generation, holder, two
// counts, registrations, unit attentions; numbers are big-endian.
func (r *Record) AppendTo(b []byte) []byte {
	flags := byte(0)
	if r.State.APTPL {
		flags = 1
	}
	b = append(b, recordVersion, flags, byte(r.State.Type))
	b = be.AppendUint32(b, r.State.Generation)
	b = append(b, r.State.Holder[:]...)
	b = be.AppendUint16(b, uint16(len(r.State.Registrations)))
	b = be.AppendUint16(b, uint16(len(r.Attentions)))
	for _, g := range r.State.Registrations {
		b = append(b, g.Initiator[:]...)
		b = be.AppendUint64(b, g.Key)
	}
	for _, a := range r.Attentions {
		b = append(b, a.To[:]...)
		b = append(b, a.Sense.Key, a.Sense.Code, a.Sense.Qualifier)
	}
	return b
}

// Decode reads a record and keeps nothing of b.
func (r *Record) Decode(b []byte) error {
	if len(b) < recordFixed || b[0] != recordVersion || b[1] > 1 {
		return ErrRecord
	}
	s := State{APTPL: b[1] == 1, Type: Type(b[2]), Generation: be.Uint32(b[3:]), Holder: Initiator(b[7:23])}
	registered, attentions := int(be.Uint16(b[23:])), int(be.Uint16(b[25:]))
	b = b[recordFixed:]
	if len(b) != registered*registerSize+attentions*attentionSize || registered > MaxRegistrations {
		return ErrRecord
	}
	for ; registered > 0; registered-- {
		g := Registration{Initiator(b[:16]), be.Uint64(b[16:])}
		if g.Initiator.IsZero() || g.Key == 0 || s.index(g.Initiator) >= 0 {
			return ErrRecord
		}
		s.Registrations = append(s.Registrations, g)
		b = b[registerSize:]
	}
	switch {
	case s.Type == NoReservation:
	case !s.Type.Valid(), len(s.Registrations) == 0:
		return ErrRecord
	case !s.Type.allRegistrants() && s.index(s.Holder) < 0:
		return ErrRecord
	}
	*r = Record{State: s}
	for ; len(b) > 0; b = b[attentionSize:] {
		r.Attentions = append(r.Attentions, Attention{Initiator(b[:16]), Sense{b[16], b[17], b[18]}})
	}
	return nil
}

// attentions are the unit attention conditions each initiator has still to see,
// oldest first, one of a kind.
type attentions map[Initiator][]Sense

func (a attentions) raise(list []Attention) {
	for _, n := range list {
		if !slices.Contains(a[n.To], n.Sense) {
			a[n.To] = append(a[n.To], n.Sense)
		}
	}
}

// take removes and returns the oldest condition of i.
func (a attentions) take(i Initiator) (Sense, bool) {
	list := a[i]
	if len(list) == 0 {
		return Sense{}, false
	}
	first := list[0]
	if len(list) == 1 {
		delete(a, i)
	} else {
		a[i] = list[1:]
	}
	return first, true
}

func (a attentions) clone() attentions {
	c := make(attentions, len(a))
	for i, list := range a {
		c[i] = slices.Clone(list)
	}
	return c
}

func (a attentions) list() []Attention {
	ids := slices.SortedFunc(maps.Keys(a), func(x, y Initiator) int { return slices.Compare(x[:], y[:]) })
	var all []Attention
	for _, i := range ids {
		for _, s := range a[i] {
			all = append(all, Attention{i, s})
		}
	}
	return all
}

var be = binary.BigEndian
