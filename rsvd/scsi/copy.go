package scsi

import (
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"time"

	"gabion/store"
)

// Copier is what lets guests copy by token (ODX inside a guest: SPC-4 5.17, SBC-3 4.28).
type Copier interface {
	// Freeze keeps ranges of the disk as they are now, with a secret, under an id.
	Freeze(id [16]byte, secret []byte, ranges []store.Range, life time.Duration) (store.Pos, error)
	// Frozen returns what Freeze of this or another disk kept; store.ErrNotFound when
	// it is gone.
	Frozen(id [16]byte) (Frozen, error)
	// Thaw lets go of it.
	Thaw(id [16]byte)
}

// Frozen is what a token stands for: the ranges one behind the other.
type Frozen interface {
	Size() int64
	Secret() []byte
	ReadAt(p []byte, off int64) error
	Close()
}

// ErrNoCopy is what a Copier returns for a disk that cannot be frozen.
var ErrNoCopy = errors.New("scsi: no copy by token")

// The limits that VPD page 8Fh tells.
const (
	maxCopyRanges  = 64
	maxCopyBytes   = 64 << 20
	maxTokenLife   = 300 * time.Second
	tokenLife      = 30 * time.Second
	maxCopyResults = 256
)

// Third-party copy (SPC-4 6.4, 6.18; SBC-3 5.7, 5.21, 5.46).
const (
	opThirdPartyCopyOut, opThirdPartyCopyIn = 0x83, 0x84
	populateToken, writeUsingToken          = 0x10, 0x11
	receiveTokenInformation                 = 0x07

	tokenSize = 512
	// Types of representations of data: a copy as of one moment, and zeros.
	rodPointInTime, rodZero = 0x00800000, 0xFFFF0001
	tokenID, tokenSecret    = 128, 144
	secretSize              = 32
)

// The sense data of tokens (SPC-4 table F.2).
var (
	TokenRefused = Sense{0x05, 0x23, 0x00}
	TokenUnknown = Sense{0x05, 0x23, 0x04}
	TokenCorrupt = Sense{0x05, 0x23, 0x05}
)

// copyKey names a copy: a list identifier is an initiator's own.
type copyKey struct {
	initiator Initiator
	list      uint32
}

// copyResult is what RECEIVE ROD TOKEN INFORMATION tells.
type copyResult struct {
	service  byte
	residual bool
	blocks   uint64
	token    []byte
}

// remember keeps the result of a copy; the oldest one goes when there are too many.
func (t *Target) remember(c *Command, r copyResult) {
	key := copyKey{c.Initiator, be.Uint32(c.CDB[6:])}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.copies == nil {
		t.copies = map[copyKey]copyResult{}
	}
	if _, there := t.copies[key]; !there {
		if len(t.copyOrder) == maxCopyResults {
			delete(t.copies, t.copyOrder[0])
			t.copyOrder = t.copyOrder[1:]
		}
		t.copyOrder = append(t.copyOrder, key)
	}
	t.copies[key] = r
}

// copyList is the parameter list of a copy, of at least a size.
func (c *Command) copyList(least int) ([]byte, Sense) {
	n := uint64(be.Uint32(c.CDB[10:]))
	if n < uint64(least) || uint64(len(c.DataOut)) < n {
		return nil, ParameterListLengthError
	}
	b := c.DataOut[:n]
	if uint64(be.Uint16(b))+2 > n {
		return nil, ParameterListLengthError
	}
	return b, NoSense
}

// copyRanges reads block device range descriptors (SBC-3 table 90).
func (t *Target) copyRanges(b []byte, length int) (list []store.Range, total int64, bad Sense) {
	const descriptor = 16
	if length > len(b) || length == 0 || length%descriptor != 0 || length/descriptor > maxCopyRanges {
		return nil, 0, InvalidFieldInParameters
	}
	g := t.disk.Geometry()
	for b = b[:length]; len(b) > 0; b = b[descriptor:] {
		r, sense := byteRange(&g, be.Uint64(b), uint64(be.Uint32(b[8:])))
		if sense != NoSense {
			return nil, 0, sense
		}
		list = append(list, r)
		if total += r.Len; total > maxCopyBytes {
			return nil, 0, InvalidFieldInParameters
		}
	}
	return list, total, NoSense
}

// byteRange is a range of blocks in bytes.
func byteRange(g *Geometry, lba, blocks uint64) (store.Range, Sense) {
	last := uint64(g.Size) / uint64(g.SectorSize)
	if lba > last || blocks > last-lba {
		return store.Range{}, BlockAddressOutOfRange
	}
	return store.Range{Off: int64(lba) * int64(g.SectorSize), Len: int64(blocks) * int64(g.SectorSize)}, NoSense
}

// populateToken is POPULATE TOKEN (SBC-3 5.7).
func (t *Target) populateToken(c *Command) Result {
	const head, typeValid = 16, 0x02
	if t.copier == nil {
		return check(InvalidOperationCode)
	}
	b, bad := c.copyList(head)
	if bad != NoSense {
		return check(bad)
	}
	life := time.Duration(be.Uint32(b[4:])) * time.Second
	if life == 0 {
		life = tokenLife
	}
	if life > maxTokenLife || b[2]&typeValid != 0 && be.Uint32(b[8:]) != rodPointInTime {
		return check(InvalidFieldInParameters)
	}
	ranges, total, bad := t.copyRanges(b[head:], int(be.Uint16(b[14:])))
	if bad != NoSense {
		return check(bad)
	}
	token := make([]byte, tokenSize)
	_, _ = rand.Read(token[tokenID : tokenSecret+secretSize])
	id, secret := [16]byte(token[tokenID:tokenSecret]), token[tokenSecret:tokenSecret+secretSize]
	pos, err := t.copier.Freeze(id, secret, ranges, life)
	if err != nil {
		return check(TokenRefused)
	}
	t.describe(token, total)
	t.remember(c, copyResult{service: populateToken, blocks: uint64(total) / uint64(t.disk.Geometry().SectorSize), token: token})
	return Result{Pos: pos}
}

// describe fills in what a token tells anybody (SPC-4 table 104).
func (t *Target) describe(token []byte, bytes int64) {
	const cscd, binary, naa = 0xE4, 1, 3
	be.PutUint32(token, rodPointInTime)
	be.PutUint16(token[6:], tokenSize-8)
	copy(token[8:16], token[tokenID:])
	token[16], token[20], token[21], token[23] = cscd, binary, naa, 8
	copy(token[24:32], t.localNAA())
	be.PutUint64(token[56:], uint64(bytes))
	be.PutUint32(token[96:], uint32(t.disk.Geometry().SectorSize))
}

// writeUsingToken is WRITE USING TOKEN (SBC-3 5.46).
func (t *Target) writeUsingToken(c *Command) Result {
	const head, deleteToken = 536, 0x02
	if t.copier == nil {
		return check(InvalidOperationCode)
	}
	b, bad := c.copyList(head)
	if bad != NoSense {
		return check(bad)
	}
	ranges, total, bad := t.copyRanges(b[head:], int(be.Uint16(b[534:])))
	if bad != NoSense {
		return check(bad)
	}
	token := b[16 : 16+tokenSize]
	sector := int64(t.disk.Geometry().SectorSize)
	r := copyResult{service: writeUsingToken}
	var pos store.Pos
	var err error
	if be.Uint32(token) == rodZero {
		for _, g := range ranges {
			if g.Len == 0 {
				continue
			}
			var at store.Pos
			if at, err = t.disk.Zero(g.Off, g.Len); err != nil {
				return check(WriteSense(err))
			}
			pos = max(pos, at)
		}
		r.blocks = uint64(total / sector)
		t.remember(c, r)
		return Result{Pos: pos}
	}
	from, bad := t.frozen(token)
	if bad != NoSense {
		return check(bad)
	}
	defer from.Close()
	start := be.Uint64(b[8:])
	if start > uint64(from.Size()/sector) {
		return check(InvalidFieldInParameters)
	}
	var done int64
	if done, pos, bad = t.copyFrom(from, int64(start)*sector, ranges); bad != NoSense {
		return check(bad)
	}
	if b[2]&deleteToken != 0 {
		t.copier.Thaw([16]byte(token[tokenID:]))
	}
	r.blocks, r.residual = uint64(done/sector), done < total
	t.remember(c, r)
	return Result{Pos: pos}
}

// frozen finds what a token stands for.
func (t *Target) frozen(token []byte) (Frozen, Sense) {
	if be.Uint32(token) != rodPointInTime || be.Uint16(token[6:]) != tokenSize-8 {
		return nil, TokenCorrupt
	}
	f, err := t.copier.Frozen([16]byte(token[tokenID:]))
	if err != nil {
		return nil, TokenUnknown
	}
	if subtle.ConstantTimeCompare(f.Secret(), token[tokenSecret:tokenSecret+secretSize]) == 0 {
		f.Close()
		return nil, TokenUnknown
	}
	return f, NoSense
}

// copyFrom fills ranges from an offset on; it ends early where the source does.
func (t *Target) copyFrom(from Frozen, off int64, ranges []store.Range) (done int64, pos store.Pos, bad Sense) {
	buf := make([]byte, 1<<20)
	for _, g := range ranges {
		for n := min(g.Len, from.Size()-off); n > 0; {
			p := buf[:min(n, int64(len(buf)))]
			if from.ReadAt(p, off) != nil {
				return done, pos, UnrecoveredReadError
			}
			var at store.Pos
			var err error
			if allZero(p) {
				at, err = t.disk.Zero(g.Off, int64(len(p)))
			} else {
				at, err = t.disk.WriteAt(p, g.Off)
			}
			if err != nil {
				return done, pos, WriteSense(err)
			}
			k := int64(len(p))
			pos, done, off, g.Off, n = max(pos, at), done+k, off+k, g.Off+k, n-k
		}
	}
	return done, pos, NoSense
}

// receiveTokenInformation is RECEIVE ROD TOKEN INFORMATION (SPC-4 6.24).
func (t *Target) receiveTokenInformation(c *Command) Result {
	const completed, withResidual, unitBlocks, noUpdates = 0x01, 0x03, 0xF1, 0xFFFFFFFF
	t.mu.Lock()
	r, ok := t.copies[copyKey{c.Initiator, be.Uint32(c.CDB[2:])}]
	t.mu.Unlock()
	if !ok {
		return check(InvalidFieldInCDB)
	}
	b := make([]byte, 36, 36+2+tokenSize)
	b[4], b[5] = r.service, completed
	if r.residual {
		b[5] = withResidual
	}
	be.PutUint16(b[6:], 1)
	be.PutUint32(b[8:], noUpdates)
	b[15] = unitBlocks
	be.PutUint64(b[16:], r.blocks)
	be.PutUint16(b[24:], 1)
	if r.token != nil {
		be.PutUint32(b[32:], 2+tokenSize)
		b = append(append(b, 0, 0), r.token...)
	}
	be.PutUint32(b, uint32(len(b)-4))
	return c.dataIn(b, be.Uint32(c.CDB[10:]))
}

// thirdPartyCopy is VPD page 8Fh (SPC-4 7.8.17) behind its header: the limits of tokens of
// block devices (SBC-3 6.6.7.3) and the commands.
func (t *Target) thirdPartyCopy() []byte {
	sector := uint64(t.disk.Geometry().SectorSize)
	limits := make([]byte, 36)
	be.PutUint16(limits[2:], uint16(len(limits)-4))
	be.PutUint16(limits[10:], maxCopyRanges)
	be.PutUint32(limits[12:], uint32(maxTokenLife/time.Second))
	be.PutUint32(limits[16:], uint32(tokenLife/time.Second))
	be.PutUint64(limits[20:], maxCopyBytes/sector)
	be.PutUint64(limits[28:], maxCopyBytes/sector)
	list := []byte{opThirdPartyCopyOut, 2, populateToken, writeUsingToken, opThirdPartyCopyIn, 1, receiveTokenInformation}
	commands := append([]byte{0, 1, 0, 0, byte(len(list))}, list...)
	for len(commands)%4 != 0 {
		commands = append(commands, 0)
	}
	be.PutUint16(commands[2:], uint16(len(commands)-4))
	return append(limits, commands...)
}
