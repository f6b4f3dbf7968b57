package scsi

import "bytes"

// Mode pages (SPC-4 7.5, SBC-3 6.5), current values.
func modePages() []struct {
	code byte
	body []byte
} {
	const writeCache, unrestrictedReordering = 0x04, 0x10
	caching := make([]byte, 20)
	caching[0], caching[1], caching[2] = 0x08, 18, writeCache
	control := make([]byte, 12)
	control[0], control[1], control[3] = 0x0A, 10, unrestrictedReordering
	control[5] = 0x40                   // TAS: what another initiator aborts ends with TASK ABORTED
	control[8], control[9] = 0xFF, 0xFF // busy timeout: unlimited
	exceptions := make([]byte, 12)
	exceptions[0], exceptions[1] = 0x1C, 10
	return []struct {
		code byte
		body []byte
	}{{0x08, caching}, {0x0A, control}, {0x1C, exceptions}}
}

const (
	allPages  = 0x3F
	allSubs   = 0xFF
	dbd       = 0x08 // disable block descriptors
	longLBA   = 0x10
	writeProt = 0x80
	dpoFUA    = 0x10
)

// modeBody returns the block descriptor and pages of a MODE SENSE.
func (t *Target) modeBody(c *CDB, long bool) (device byte, descriptor, pages []byte, bad Sense) {
	const changeable, saved = 1, 3
	control, code, sub := c[2]>>6, c[2]&0x3F, c[3]
	if control == saved {
		return 0, nil, nil, SavingNotSupported
	}
	if sub != 0 && !(code == allPages && sub == allSubs) {
		return 0, nil, nil, InvalidFieldInCDB
	}
	for _, p := range modePages() {
		if code != allPages && code != p.code {
			continue
		}
		if control == changeable {
			clear(p.body[2:])
		}
		pages = append(pages, p.body...)
	}
	if pages == nil {
		return 0, nil, nil, InvalidFieldInCDB
	}
	g := t.disk.Geometry()
	device = dpoFUA
	if g.ReadOnly {
		device |= writeProt
	}
	if c[1]&dbd == 0 {
		blocks := uint64(g.Size) / uint64(g.SectorSize)
		if long {
			descriptor = make([]byte, 16)
			be.PutUint64(descriptor, blocks)
			be.PutUint32(descriptor[12:], uint32(g.SectorSize))
		} else {
			descriptor = make([]byte, 8)
			be.PutUint32(descriptor, uint32(min(blocks, 1<<32-1)))
			be.PutUint32(descriptor[4:], uint32(g.SectorSize))
		}
	}
	return device, descriptor, pages, NoSense
}

func (t *Target) modeSense6(c *Command) Result {
	device, descriptor, pages, bad := t.modeBody(&c.CDB, false)
	if bad != NoSense {
		return check(bad)
	}
	b := []byte{byte(3 + len(descriptor) + len(pages)), 0, device, byte(len(descriptor))}
	b = append(append(b, descriptor...), pages...)
	return c.dataIn(b, uint32(c.CDB[4]))
}

func (t *Target) modeSense10(c *Command) Result {
	long := c.CDB[1]&longLBA != 0
	device, descriptor, pages, bad := t.modeBody(&c.CDB, long)
	if bad != NoSense {
		return check(bad)
	}
	b := make([]byte, 8)
	be.PutUint16(b, uint16(6+len(descriptor)+len(pages)))
	b[3] = device
	if long && len(descriptor) > 0 {
		b[4] = 1
	}
	be.PutUint16(b[6:], uint16(len(descriptor)))
	b = append(append(b, descriptor...), pages...)
	return c.dataIn(b, uint32(be.Uint16(c.CDB[7:])))
}

// modeSelect accepts pages that change nothing: no field here is changeable.
func (t *Target) modeSelect(c *Command) Result {
	header, descriptor, length := 4, 0, int(c.CDB[4])
	if c.CDB[0] == 0x55 {
		header, length = 8, int(be.Uint16(c.CDB[7:]))
	}
	if length == 0 {
		return Result{}
	}
	if length < header || len(c.DataOut) < length {
		return check(ParameterListLengthError)
	}
	if header == 4 {
		descriptor = int(c.DataOut[3])
	} else {
		descriptor = int(be.Uint16(c.DataOut[6:]))
	}
	if header+descriptor > length {
		return check(ParameterListLengthError)
	}
	for list := c.DataOut[header+descriptor : length]; len(list) > 0; {
		if len(list) < 2 || len(list) < 2+int(list[1]) {
			return check(ParameterListLengthError)
		}
		page := bytes.Clone(list[:2+int(list[1])])
		page[0] &= 0x3F // PS is reserved here
		if !isCurrent(page) {
			return check(InvalidFieldInParameters)
		}
		list = list[len(page):]
	}
	return Result{}
}

func isCurrent(page []byte) bool {
	for _, p := range modePages() {
		if bytes.Equal(page, p.body) {
			return true
		}
	}
	return false
}
