package scsi

import (
	"bytes"
	"strings"

	"gabion/protocol/dtyp"
)

// parseReserveOut reads PERSISTENT RESERVE OUT (SPC-4 6.16).
func parseReserveOut(c *Command) (Request, Sense) {
	const list = 24
	r := Request{
		Initiator: c.Initiator,
		Action:    Action(c.CDB[1] & serviceMask),
		Scope:     c.CDB[2] >> 4,
		Type:      Type(c.CDB[2] & 0x0F),
	}
	if r.Action > RegisterAndMove {
		return r, InvalidFieldInCDB
	}
	length := uint64(be.Uint32(c.CDB[5:]))
	if length < list || uint64(len(c.DataOut)) < length {
		return r, ParameterListLengthError
	}
	b := c.DataOut[:length]
	r.Key, r.ActionKey = be.Uint64(b), be.Uint64(b[8:])
	if r.Action == RegisterAndMove {
		r.Unregister, r.APTPL = b[17]&2 != 0, b[17]&1 != 0
		n := uint64(be.Uint32(b[20:]))
		if n != length-list {
			return r, ParameterListLengthError
		}
		r.Destination = parseTransportID(b[list:])
		return r, NoSense
	}
	r.SpecInitiators, r.APTPL = b[20]&8 != 0, b[20]&1 != 0
	switch {
	case r.SpecInitiators && r.Action != Register:
		return r, InvalidFieldInParameters
	case length != list && !r.SpecInitiators:
		return r, ParameterListLengthError
	}
	return r, NoSense
}

// persistentReserveIn is PERSISTENT RESERVE IN (SPC-4 6.15).
func (t *Target) persistentReserveIn(c *Command) Result {
	const readKeys, readReservation, reportCapabilities, readFullStatus = 0, 1, 2, 3
	t.mu.Lock()
	s, pos := t.state, t.pos
	t.mu.Unlock()
	var b []byte
	switch c.CDB[1] & serviceMask {
	case readKeys:
		b = s.appendKeys(nil)
	case readReservation:
		b = s.appendReservation(nil)
	case reportCapabilities:
		b = s.appendCapabilities(nil)
	case readFullStatus:
		b = s.appendFullStatus(nil)
	default:
		return check(InvalidFieldInCDB)
	}
	r := c.dataIn(b, uint32(be.Uint16(c.CDB[7:])))
	r.Pos = pos
	return r
}

func (s *State) appendKeys(b []byte) []byte {
	b = be.AppendUint32(b, s.Generation)
	b = be.AppendUint32(b, uint32(8*len(s.Registrations)))
	for _, g := range s.Registrations {
		b = be.AppendUint64(b, g.Key)
	}
	return b
}

func (s *State) appendReservation(b []byte) []byte {
	b = be.AppendUint32(b, s.Generation)
	if s.Type == NoReservation {
		return be.AppendUint32(b, 0)
	}
	key := uint64(0)
	if !s.Type.allRegistrants() {
		key, _ = s.Key(s.Holder)
	}
	b = be.AppendUint32(b, 16)
	b = be.AppendUint64(b, key)
	return append(b, 0, 0, 0, 0, 0, byte(s.Type), 0, 0)
}

func (s *State) appendCapabilities(b []byte) []byte {
	const allPorts, persistCapable = 0x04, 0x01 // ATP_C, PTPL_C
	const typesValid, allowed = 0x80, 0x10      // TMV, ALLOW COMMANDS 001b
	active := byte(0)
	if s.APTPL {
		active = 1
	}
	return append(b, 0, 8, allPorts|persistCapable, typesValid|allowed|active, 0xEA, 0x01, 0, 0)
}

func (s *State) appendFullStatus(b []byte) []byte {
	const holds, relativePort = 1, 1
	b = be.AppendUint32(b, s.Generation)
	at := len(b)
	b = be.AppendUint32(b, 0)
	for _, g := range s.Registrations {
		flags, kind := byte(0), byte(0)
		if s.Holds(g.Initiator) {
			flags, kind = holds, byte(s.Type)
		}
		id := transportID(g.Initiator)
		b = be.AppendUint64(b, g.Key)
		b = append(b, 0, 0, 0, 0, flags, kind, 0, 0, 0, 0, 0, relativePort)
		b = be.AppendUint32(b, uint32(len(id)))
		b = append(b, id...)
	}
	be.PutUint32(b[at:], uint32(len(b)-at-4))
	return b
}

// An initiator has no TransportID of its own in RSVD. It is shown, and accepted by
// REGISTER AND MOVE, as an iSCSI name (SPC-4 7.6.4.6) that ends in its id.
const (
	iscsiName   = 0x05
	transportIQ = "iqn.2025-01.invalid.gabion:rsvd:"
)

func transportID(i Initiator) []byte {
	b := append([]byte{iscsiName, 0, 0, 0}, transportIQ...)
	b = append(append(b, i.String()...), 0)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	be.PutUint16(b[2:], uint16(len(b)-4))
	return b
}

// parseTransportID returns the zero id for anything but transportID's form.
func parseTransportID(b []byte) Initiator {
	if len(b) < 4 || b[0] != iscsiName || int(be.Uint16(b[2:])) != len(b)-4 {
		return Initiator{}
	}
	name, _, _ := bytes.Cut(b[4:], []byte{0})
	text, ok := strings.CutPrefix(string(name), transportIQ)
	if !ok {
		return Initiator{}
	}
	id, err := dtyp.ParseGUID(text)
	if err != nil {
		return Initiator{}
	}
	return id
}
