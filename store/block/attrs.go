package block

import (
	"encoding/binary"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// sizes of a stream.
type sizes struct {
	size, valid, alloc int64
}

func roundUp(n int64) int64 { return (n + blockSize - 1) &^ (blockSize - 1) }

func (s sizes) public() store.Sizes {
	return store.Sizes{Size: s.size, Allocated: max(roundUp(s.size), s.alloc), ValidData: s.valid}
}

// attrs is what an inode's record holds.
type attrs struct {
	dir   bool
	file  uint32 // FILE_ATTRIBUTE_*
	times store.Times
	sizes // of the unnamed stream
	tag   uint32
	ea    uint32
	links uint32
	cover uint64 // newest snapshot that covers it by itself or by an earlier place
	data  uint32 // number of the unnamed stream
	next  uint32 // number for the next named stream
}

func (a *attrs) public(id store.FileID) store.Attr {
	p := store.Attr{
		ID: id, Dir: a.dir, FileAttributes: a.file,
		CreationTime: a.times.Creation, LastAccessTime: a.times.LastAccess,
		LastWriteTime: a.times.LastWrite, ChangeTime: a.times.Change,
		Links: a.links, ReparseTag: a.tag, EASize: a.ea,
	}
	if !a.dir {
		p.Sizes = a.sizes.public()
	}
	return p
}

// encode appends the fields in which a differs from old; all that are not zero
// when old is the zero value.
func (a *attrs) encode(b []byte, old *attrs) []byte {
	num := func(id byte, n, o uint64) {
		if n != o {
			b = field(b, id, n)
		}
	}
	flag := func(d bool) uint64 {
		if d {
			return 1
		}
		return 0
	}
	num(fFlags, flag(a.dir), flag(old.dir))
	num(fAttributes, uint64(a.file), uint64(old.file))
	num(fCreation, uint64(a.times.Creation), uint64(old.times.Creation))
	num(fAccess, uint64(a.times.LastAccess), uint64(old.times.LastAccess))
	num(fWrite, uint64(a.times.LastWrite), uint64(old.times.LastWrite))
	num(fChange, uint64(a.times.Change), uint64(old.times.Change))
	num(fSize, uint64(a.size), uint64(old.size))
	num(fValid, uint64(a.valid), uint64(old.valid))
	num(fAlloc, uint64(a.alloc), uint64(old.alloc))
	num(fTag, uint64(a.tag), uint64(old.tag))
	num(fEASize, uint64(a.ea), uint64(old.ea))
	num(fLinks, uint64(a.links), uint64(old.links))
	num(fCover, a.cover, old.cover)
	num(fData, uint64(a.data), uint64(old.data))
	num(fNextStream, uint64(a.next), uint64(old.next))
	return b
}

// full appends the whole record, which is never empty.
func (a *attrs) full(b []byte) []byte {
	if !a.dir {
		b = field(b, fFlags, 0)
	}
	return a.encode(b, &attrs{})
}

// take sets what a field says and reports whether it is one of attrs.
func (a *attrs) take(id byte, v uint64) {
	switch id {
	case fFlags:
		a.dir = v&1 != 0
	case fAttributes:
		a.file = uint32(v)
	case fCreation:
		a.times.Creation = dtyp.Filetime(v)
	case fAccess:
		a.times.LastAccess = dtyp.Filetime(v)
	case fWrite:
		a.times.LastWrite = dtyp.Filetime(v)
	case fChange:
		a.times.Change = dtyp.Filetime(v)
	case fSize:
		a.size = int64(v)
	case fValid:
		a.valid = int64(v)
	case fAlloc:
		a.alloc = int64(v)
	case fTag:
		a.tag = uint32(v)
	case fEASize:
		a.ea = uint32(v)
	case fLinks:
		a.links = uint32(v)
	case fCover:
		a.cover = v
	case fData:
		a.data = uint32(v)
	case fNextStream:
		a.next = uint32(v)
	}
}

func (a *attrs) decode(b []byte) error {
	return eachField(b, func(id byte, v uint64, _ []byte) { a.take(id, v) })
}

// setTimes sets those that are not 0.
func (a *attrs) setTimes(t store.Times) {
	set := func(to *dtyp.Filetime, v dtyp.Filetime) {
		if v != 0 {
			*to = v
		}
	}
	set(&a.times.Creation, t.Creation)
	set(&a.times.LastAccess, t.LastAccess)
	set(&a.times.LastWrite, t.LastWrite)
	set(&a.times.Change, t.Change)
}

func (a *attrs) touch(t store.Touch) {
	a.setTimes(store.Times{LastWrite: t.LastWrite, Change: t.Change})
	a.file |= t.SetAttributes
}

// entry is the value of a directory entry.
type entry struct {
	name string
	id   store.FileID
	attrs
}

func (e *entry) encode(b []byte) []byte {
	b = fieldBytes(b, fName, e.name)
	b = field(b, fFile, uint64(e.id))
	return e.attrs.encode(b, &attrs{})
}

func (e *entry) decode(b []byte) error {
	name, err := e.decodeUnnamed(b)
	e.name = string(name)
	return err
}

// decodeUnnamed is decode, but returns the name as a part of b; it is eachField spelled
// out: listings decode every entry.
func (e *entry) decodeUnnamed(b []byte) (name []byte, err error) {
	for len(b) > 0 {
		id := b[0]
		v, n := binary.Uvarint(b[1:])
		if n <= 0 {
			return nil, errFields
		}
		b = b[1+n:]
		switch {
		case id == fFile:
			e.id = store.FileID(v)
		case id < bytesField:
			e.take(id, v)
		case v > uint64(len(b)):
			return nil, errFields
		default:
			if id == fName {
				name = b[:v]
			}
			b = b[v:]
		}
	}
	return name, nil
}

func (e *entry) public() store.Entry { return store.Entry{Name: e.name, Attr: e.attrs.public(e.id)} }

// sizesRecord is the record of a named stream.
func (s sizes) encode(b []byte, old *sizes) []byte {
	a, o := attrs{sizes: s}, attrs{sizes: *old}
	return a.encode(b, &o)
}

// full is never empty.
func (s sizes) full(b []byte) []byte { return s.encode(field(b, fFlags, 0), &sizes{}) }
