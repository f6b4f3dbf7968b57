package server

import (
	"encoding/binary"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
)

// fileQuery is what QUERY_INFO does for one class of files.
type fileQuery struct {
	class  fscc.FileInformationClass
	access dtyp.AccessMask // one of these must have been granted; 0: none needed
	answer func(*query)
}

// fileQueries has the classes of [MS-SMB2] 2.2.37; the needed rights are those of
// 3.3.5.20.1.
var fileQueries = [...]fileQuery{
	{fscc.FileBasicInformation, dtyp.FileReadAttributes, (*query).basic},
	{fscc.FileStandardInformation, 0, (*query).standard},
	{fscc.FileInternalInformation, 0, (*query).internal},
	{fscc.FileEaInformation, 0, (*query).ea},
	{fscc.FileAccessInformation, 0, (*query).access},
	{fscc.FilePositionInformation, 0, (*query).position},
	{fscc.FileFullEaInformation, dtyp.FileReadEA, (*query).fullEA},
	{fscc.FileModeInformation, 0, (*query).mode},
	{fscc.FileAlignmentInformation, 0, (*query).alignment},
	{fscc.FileAllInformation, dtyp.FileReadAttributes, (*query).all},
	{fscc.FileAlternateNameInformation, 0, (*query).alternateName},
	{fscc.FileStreamInformation, 0, (*query).streams},
	{fscc.FileCompressionInformation, 0, (*query).compression},
	{fscc.FileNetworkOpenInformation, dtyp.FileReadAttributes, (*query).networkOpen},
	{fscc.FileAttributeTagInformation, dtyp.FileReadAttributes, (*query).attributeTag},
	{fscc.FileNormalizedNameInformation, 0, (*query).normalizedName},
	{fscc.FileIDInformation, 0, (*query).fileID},
}

var fileQueryOf = func() (t [256]*fileQuery) {
	for i := range fileQueries {
		t[fileQueries[i].class] = &fileQueries[i]
	}
	return t
}()

// file is 3.3.5.20.1.
func (q *query) file() {
	class := fscc.FileInformationClass(q.req.FileInfoClass)
	row := fileQueryOf[class]
	switch {
	case row == nil:
		q.fail(refusal(class))
	case class == fscc.FileIDInformation && !q.r.dialect().Is3x(),
		class == fscc.FileNormalizedNameInformation && q.r.dialect() != smb2.Dialect311:
		q.fail(ntstatus.NotSupported)
	case q.room < class.MinSize():
		if q.f.disk != nil && diskSizes[class] {
			q.fail(ntstatus.BufferTooSmall)
			return
		}
		q.tooShort()
	case row.access != 0 && !q.f.granted(row.access):
		q.fail(ntstatus.AccessDenied)
	default:
		row.answer(q)
	}
}

// info returns what the object store says of the file; if it fails the query has
// been answered.
func (q *query) info() (i object.Info, ok bool) {
	i, status := q.f.info()
	if status != ntstatus.Success {
		q.fail(status)
		return i, false
	}
	return i, true
}

func basicOf(i *object.Info) fscc.BasicInformation {
	return fscc.BasicInformation{
		CreationTime: i.CreationTime, LastAccessTime: i.LastAccessTime,
		LastWriteTime: i.LastWriteTime, ChangeTime: i.ChangeTime, FileAttributes: i.FileAttributes,
	}
}

func (q *query) basic() {
	if i, ok := q.info(); ok {
		x := basicOf(&i)
		q.answer(&x)
	}
}

func standardOf(i *object.Info) fscc.StandardInformation {
	return fscc.StandardInformation{
		AllocationSize: i.Stream.Allocated, EndOfFile: i.Stream.Size, NumberOfLinks: i.Links,
		DeletePending: i.DeletePending, Directory: i.Dir,
	}
}

func (q *query) standard() {
	if i, ok := q.info(); ok {
		x := standardOf(&i)
		q.answer(&x)
	}
}

func (q *query) internal() {
	q.answer(&fscc.InternalInformation{IndexNumber: uint64(q.f.obj.ID())})
}

func (q *query) ea() {
	if i, ok := q.info(); ok {
		q.answer(&fscc.EaInformation{EaSize: i.EASize})
	}
}

func (q *query) access() {
	q.answer(&fscc.AccessInformation{AccessFlags: dtyp.AccessMask(q.f.obj.Access())})
}

func (q *query) position() {
	q.answer(&fscc.PositionInformation{CurrentByteOffset: q.f.obj.Position()})
}

func (q *query) mode() { q.answer(&fscc.ModeInformation{Mode: q.f.obj.Mode()}) }

func (q *query) alignment() { q.answer(&fscc.AlignmentInformation{}) }

// all is FileAllInformation. The name is the path from the share's root, as Windows up to
// 2012 R2 fills it in: note 420.
func (q *query) all() {
	i, ok := q.info()
	if !ok {
		return
	}
	q.answer(&fscc.AllInformation{
		BasicInformation:    basicOf(&i),
		StandardInformation: standardOf(&i),
		InternalInformation: fscc.InternalInformation{IndexNumber: uint64(q.f.obj.ID())},
		EaInformation:       fscc.EaInformation{EaSize: i.EASize},
		AccessInformation:   fscc.AccessInformation{AccessFlags: dtyp.AccessMask(q.f.obj.Access())},
		PositionInformation: fscc.PositionInformation{CurrentByteOffset: q.f.obj.Position()},
		ModeInformation:     fscc.ModeInformation{Mode: q.f.obj.Mode()},
		NameInformation:     fscc.NameInformation{FileName: `\` + q.f.path()},
	})
}

func (q *query) alternateName() {
	path := q.f.obj.Path()
	if path == "" {
		q.fail(ntstatus.ObjectNameNotFound)
		return
	}
	q.answer(&fscc.NameInformation{FileName: object.AlternateName(baseName(path))})
}

// baseName is the last component of a path.
func baseName(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '\\' {
			return path[i+1:]
		}
	}
	return path
}

func (q *query) normalizedName() { q.answer(&fscc.NameInformation{FileName: q.f.path()}) }

// streams is FileStreamInformation: as many as fit ([MS-FSA] 2.1.5.12.29).
func (q *query) streams() {
	streams, status := q.f.obj.Streams()
	if status != ntstatus.Success {
		q.fail(status)
		return
	}
	list := fscc.NewStreamList(q.begin(), q.room)
	for _, s := range streams {
		e := fscc.StreamEntry{StreamSize: s.Size, StreamAllocationSize: s.Allocated, StreamName: fscc.StreamWireName(s.Name)}
		if !list.Add(&e) {
			q.list(&list, ntstatus.BufferOverflow)
			return
		}
	}
	q.list(&list, ntstatus.Success)
}

// compression: nothing is compressed that a client could see.
func (q *query) compression() {
	if i, ok := q.info(); ok {
		q.answer(&fscc.CompressionInformation{CompressedFileSize: i.Stream.Allocated})
	}
}

func (q *query) networkOpen() {
	i, ok := q.info()
	if !ok {
		return
	}
	q.answer(&fscc.NetworkOpenInformation{
		CreationTime: i.CreationTime, LastAccessTime: i.LastAccessTime,
		LastWriteTime: i.LastWriteTime, ChangeTime: i.ChangeTime,
		AllocationSize: i.Stream.Allocated, EndOfFile: i.Stream.Size, FileAttributes: i.FileAttributes,
	})
}

func (q *query) attributeTag() {
	if i, ok := q.info(); ok {
		q.answer(&fscc.AttributeTagInformation{FileAttributes: i.FileAttributes, ReparseTag: i.ReparseTag})
	}
}

func (q *query) fileID() {
	x := fscc.IdInformation{VolumeSerialNumber: volumeID(q.f.obj.Tree().Store())}
	binary.LittleEndian.PutUint64(x.FileID[:], uint64(q.f.obj.ID()))
	q.answer(&x)
}

// volumeID is the 64-bit number that names a volume in FileIdInformation and in the
// QFid create context; its low half is FileFsVolumeInformation's.
func volumeID(v store.Volume) uint64 {
	i := v.Info()
	return uint64(binary.LittleEndian.Uint32(i.GUID[:]))<<32 | uint64(i.Serial)
}

// fullEA is the enumeration of extended attributes that ends 3.3.5.20.1.
func (q *query) fullEA() {
	blob, status := q.f.obj.EA()
	if status != ntstatus.Success {
		q.fail(status)
		return
	}
	eas, err := fscc.DecodeEAs(blob)
	if err != nil && len(blob) > 0 {
		q.fail(ntstatus.EACorruptError)
		return
	}
	if len(q.req.Input) > 0 {
		q.namedEAs(eas)
		return
	}
	q.f.mu.Lock()
	defer q.f.mu.Unlock()
	from := q.f.eaIndex
	switch flags := q.req.Flags; {
	case flags&smb2.ScanIndexSpecified != 0:
		from = int(q.req.AdditionalInformation) - 1
		if from < 0 || from >= len(eas) {
			q.fail(ntstatus.NonexistentEAEntry)
			return
		}
	case flags&smb2.ScanRestart != 0:
		from = 0
	}
	if len(eas) == 0 {
		q.fail(ntstatus.NoEasOnFile)
		return
	}
	if from >= len(eas) {
		q.fail(ntstatus.NoMoreEas)
		return
	}
	q.f.eaIndex = from + q.sendEAs(eas[from:])
}

// sendEAs answers with as many of eas as fit and returns how many those are.
func (q *query) sendEAs(eas []fscc.EA) int {
	if q.req.Flags&smb2.ScanReturnSingleEntry != 0 {
		eas = eas[:1]
	}
	list := fscc.NewEAList(q.begin(), q.room)
	for i := range eas {
		if list.Add(&eas[i]) {
			continue
		}
		if i == 0 {
			q.fail(ntstatus.BufferTooSmall)
			return 0
		}
		q.list(&list, ntstatus.BufferOverflow)
		return i
	}
	q.list(&list, ntstatus.Success)
	return len(eas)
}

// namedEAs answers with the attributes that the client names; one that does not exist
// has an empty value ([MS-FSA] 2.1.5.12.17).
func (q *query) namedEAs(eas []fscc.EA) {
	names, err := fscc.DecodeGetEAs(q.req.Input)
	if err != nil {
		q.fail(ntstatus.EAListInconsistent)
		return
	}
	there := make(map[string]fscc.EA, len(eas)) // a client may name hundreds of thousands
	for i := range eas {
		there[eas[i].Name] = eas[i]
	}
	var want []fscc.EA
	for _, n := range names {
		if !fscc.ValidEAName(n) {
			q.fail(ntstatus.InvalidEAName)
			return
		}
		e, ok := there[fold(n)]
		if !ok {
			e = fscc.EA{Name: n}
		}
		want = append(want, e)
	}
	if len(want) == 0 {
		q.fail(ntstatus.NoEasOnFile)
		return
	}
	q.sendEAs(want)
}
