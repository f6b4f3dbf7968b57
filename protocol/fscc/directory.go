package fscc

import "gabion/protocol/dtyp"

// DirectoryEntry is what the directory classes show of one file; each class
// takes the fields it has.
type DirectoryEntry struct {
	FileIndex      uint32
	CreationTime   dtyp.Filetime
	LastAccessTime dtyp.Filetime
	LastWriteTime  dtyp.Filetime
	ChangeTime     dtyp.Filetime
	EndOfFile      int64
	AllocationSize int64
	FileAttributes uint32
	EaSize         uint32
	ReparseTag     uint32 // meaningful if FileAttributes has REPARSE_POINT
	FileID         uint64
	FileID128      [16]byte
	ShortName      []byte // 8.3 name in UTF-8, at most 12 code units, or nothing
	Name           string
}

// dirLayout says where the fields of a directory class lie behind the common
// part, which ends with FileAttributes and FileNameLength at offset 64. Zero means absent.
type dirLayout struct {
	ea        int // EaSize
	tag       int // ReparsePointTag
	id        int // 64-bit FileId
	id128     int // 128-bit FileId
	shortName int // ShortNameLength, reserved byte, ShortName[24]
	name      int // FileName
}

const namesOnly = 12 // FileName's offset in FILE_NAMES_INFORMATION

func (c FileInformationClass) layout() (l dirLayout, ok bool) {
	switch c {
	case FileDirectoryInformation: // [MS-FSCC] 2.4.10
		return dirLayout{name: 64}, true
	case FileFullDirectoryInformation: // 2.4.15
		return dirLayout{ea: 64, name: 68}, true
	case FileIDFullDirectoryInformation: // 2.4.24
		return dirLayout{ea: 64, id: 72, name: 80}, true
	case FileBothDirectoryInformation: // 2.4.8
		return dirLayout{ea: 64, shortName: 68, name: 94}, true
	case FileIDBothDirectoryInformation: // 2.4.22
		return dirLayout{ea: 64, shortName: 68, id: 96, name: 104}, true
	case FileIDExtdDirectoryInformation: // 2.4.23
		return dirLayout{ea: 64, tag: 68, id128: 72, name: 88}, true
	case FileID64ExtdDirectoryInformation: // 2.4.19
		return dirLayout{ea: 64, tag: 68, id: 72, name: 80}, true
	case FileID64ExtdBothDirectoryInformation: // 2.4.18
		return dirLayout{ea: 64, tag: 68, id: 72, shortName: 80, name: 106}, true
	case FileIDAllExtdDirectoryInformation: // 2.4.21
		return dirLayout{ea: 64, tag: 68, id: 72, id128: 80, name: 96}, true
	case FileIDAllExtdBothDirectoryInformation: // 2.4.20
		return dirLayout{ea: 64, tag: 68, id: 72, id128: 80, shortName: 96, name: 122}, true
	case FileNamesInformation: // 2.4.33
		return dirLayout{name: namesOnly}, true
	}
	return dirLayout{}, false
}

// DirectoryList writes the entries of a QUERY_DIRECTORY reply.
type DirectoryList struct {
	chain
	layout dirLayout
}

// NewDirectoryList appends to dst a list of at most limit bytes. ok is false if
// class is not a directory class.
func NewDirectoryList(dst []byte, limit int, class FileInformationClass) (l DirectoryList, ok bool) {
	layout, ok := class.layout()
	return DirectoryList{newChain(dst, limit, 8), layout}, ok
}

// Add appends an entry, or returns false and changes nothing if it does not
// fit. When even the first does not, the server answers STATUS_BUFFER_OVERFLOW
// or STATUS_INFO_LENGTH_MISMATCH ([MS-FSA] 2.1.5.6.3).
func (l *DirectoryList) Add(e *DirectoryEntry) bool {
	nameLen := 2 * dtyp.UTF16Len(e.Name)
	if !l.next(l.layout.name + nameLen) {
		return false
	}
	b := le.AppendUint32(l.buf, e.FileIndex)
	if l.layout.name == namesOnly {
		b = le.AppendUint32(b, uint32(nameLen))
		l.buf = dtyp.AppendUTF16(b, e.Name)
		return true
	}
	b = appendTimes(b, e.CreationTime, e.LastAccessTime, e.LastWriteTime, e.ChangeTime)
	b = le.AppendUint64(b, uint64(e.EndOfFile))
	b = le.AppendUint64(b, uint64(e.AllocationSize))
	b = le.AppendUint32(b, e.FileAttributes)
	b = le.AppendUint32(b, uint32(nameLen))
	b = l.appendTail(b, e)
	l.buf = dtyp.AppendUTF16(b, e.Name)
	return true
}

func appendTimes(b []byte, times ...dtyp.Filetime) []byte {
	for _, t := range times {
		b = le.AppendUint64(b, uint64(t))
	}
	return b
}

// appendTail appends what lies between FileNameLength and FileName.
func (l *DirectoryList) appendTail(b []byte, e *DirectoryEntry) []byte {
	var tail [122 - 64]byte
	at := func(off int) []byte { return tail[off-64:] }
	y := &l.layout
	if y.ea != 0 {
		ea := e.EaSize
		// [MS-FSCC] 2.4.8, 2.4.15, 2.4.22, 2.4.24: where there is no
		// ReparsePointTag, EaSize of a reparse point is its tag.
		if y.tag == 0 && e.FileAttributes&FileAttributeReparsePoint != 0 {
			ea = e.ReparseTag
		}
		le.PutUint32(at(y.ea), ea)
	}
	if y.tag != 0 && e.FileAttributes&FileAttributeReparsePoint != 0 {
		le.PutUint32(at(y.tag), e.ReparseTag)
	}
	if y.id != 0 {
		le.PutUint64(at(y.id), e.FileID)
	}
	if y.id128 != 0 {
		copy(at(y.id128), e.FileID128[:])
	}
	if y.shortName != 0 && len(e.ShortName) > 0 {
		var short [24]byte
		n := copy(short[:], dtyp.AppendUTF16(make([]byte, 0, 48), string(e.ShortName)))
		at(y.shortName)[0] = byte(n)
		copy(at(y.shortName+2), short[:n])
	}
	return append(b, tail[:y.name-64]...)
}

// DecodeDirectory calls fn for each entry of a QUERY_DIRECTORY reply.
func DecodeDirectory(class FileInformationClass, b []byte, fn func(*DirectoryEntry) error) error {
	y, ok := class.layout()
	if !ok {
		return malformed(class.String() + " is not a directory class")
	}
	return walk(b, y.name, "directory entry", func(entry []byte) error {
		e := DirectoryEntry{FileIndex: le.Uint32(entry[4:])}
		nameLen := le.Uint32(entry[8:])
		if y.name != namesOnly {
			nameLen = le.Uint32(entry[60:])
			e.decodeFixed(entry, &y)
		}
		var err error
		if e.Name, err = nameAt(entry, y.name, nameLen, "directory entry FileName"); err != nil {
			return err
		}
		return fn(&e)
	})
}

func (e *DirectoryEntry) decodeFixed(b []byte, y *dirLayout) {
	for i, t := range []*dtyp.Filetime{&e.CreationTime, &e.LastAccessTime, &e.LastWriteTime, &e.ChangeTime} {
		*t = dtyp.Filetime(le.Uint64(b[8+8*i:]))
	}
	e.EndOfFile = int64(le.Uint64(b[40:]))
	e.AllocationSize = int64(le.Uint64(b[48:]))
	e.FileAttributes = le.Uint32(b[56:])
	reparse := e.FileAttributes&FileAttributeReparsePoint != 0
	switch {
	case y.ea != 0 && y.tag == 0 && reparse:
		e.ReparseTag = le.Uint32(b[y.ea:])
	case y.ea != 0:
		e.EaSize = le.Uint32(b[y.ea:])
	}
	if y.tag != 0 && reparse {
		e.ReparseTag = le.Uint32(b[y.tag:])
	}
	if y.id != 0 {
		e.FileID = le.Uint64(b[y.id:])
	}
	if y.id128 != 0 {
		copy(e.FileID128[:], b[y.id128:])
	}
	if y.shortName != 0 {
		n := min(int(b[y.shortName])&^1, 24)
		e.ShortName = []byte(dtyp.DecodeUTF16(b[y.shortName+2 : y.shortName+2+n]))
	}
}
