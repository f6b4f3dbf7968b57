package fscc

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"gabion/protocol/dtyp"
)

type message interface {
	Append([]byte) []byte
	Decode([]byte) error
}

// messages has one of each structure that decodes itself.
var messages = []func() message{
	func() message { return new(AccessInformation) }, func() message { return new(AlignmentInformation) },
	func() message { return new(AllInformation) }, func() message { return new(AllocatedRange) },
	func() message { return new(AllocationInformation) }, func() message { return new(AttributeTagInformation) },
	func() message { return new(BasicInformation) }, func() message { return new(CaseSensitiveInformation) },
	func() message { return new(CompressionInformation) }, func() message { return new(CompressionState) },
	func() message { return new(DispositionInformation) }, func() message { return new(DispositionInformationEx) },
	func() message { return new(DuplicateExtentsData) }, func() message { return new(DuplicateExtentsDataEx) },
	func() message { return new(EaInformation) }, func() message { return new(EndOfFileInformation) },
	func() message { return new(FileLevelTrim) }, func() message { return new(FileRegion) },
	func() message { return new(FileRegions) }, func() message { return new(FsAttributeInformation) },
	func() message { return new(FsControlInformation) }, func() message { return new(FsDeviceInformation) },
	func() message { return new(FsDriverPathInformation) }, func() message { return new(FsFullSizeInformation) },
	func() message { return new(FsLabelInformation) }, func() message { return new(FsObjectIDInformation) },
	func() message { return new(FsSectorSizeInformation) }, func() message { return new(FsSizeInformation) },
	func() message { return new(FsVolumeInformation) }, func() message { return new(GetIntegrityInformation) },
	func() message { return new(IdInformation) }, func() message { return new(InternalInformation) },
	func() message { return new(LevelTrimRange) }, func() message { return new(MarkHandleInformation) },
	func() message { return new(ModeInformation) }, func() message { return new(NTFSVolumeData) },
	func() message { return new(NameInformation) }, func() message { return new(NetworkOpenInformation) },
	func() message { return new(ObjectIDBuffer) }, func() message { return new(ObjectIDInformation) },
	func() message { return new(OffloadReadInput) }, func() message { return new(OffloadReadOutput) },
	func() message { return new(OffloadWriteInput) }, func() message { return new(OffloadWriteOutput) },
	func() message { return new(PipeInformation) }, func() message { return new(PipeLocalInformation) },
	func() message { return new(PipePeek) }, func() message { return new(PipeRemoteInformation) },
	func() message { return new(PipeWait) }, func() message { return new(PositionInformation) },
	func() message { return new(ReparseData) }, func() message { return new(ReparsePointInformation) },
	func() message { return new(RetrievalPointers) }, func() message { return new(SetIntegrityInformation) },
	func() message { return new(SetIntegrityInformationEx) }, func() message { return new(StandardInformation) },
	func() message { return new(StandardLinkInformation) }, func() message { return new(StatInformation) },
	func() message { return new(ValidDataLengthInformation) }, func() message { return new(ZeroData) },
}

// FuzzMessages: whatever decodes, encodes to bytes that decode to the same.
func FuzzMessages(f *testing.F) {
	sample := make([]byte, 600)
	for i := range sample {
		sample[i] = byte(i)
	}
	for i := range messages {
		f.Add(uint8(i), sample)
		f.Add(uint8(i), make([]byte, 128))
		f.Add(uint8(i), messages[i]().Append(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		make := messages[int(which)%len(messages)]
		m := make()
		if m.Decode(b) != nil {
			return
		}
		enc := m.Append(nil)
		again := make()
		if err := again.Decode(enc); err != nil {
			t.Fatalf("%T: own encoding: %v", m, err)
		}
		if !bytes.Equal(again.Append(nil), enc) || !reflect.DeepEqual(m, again) {
			t.Fatalf("%T: %+v became %+v", m, m, again)
		}
	})
}

func TestSizes(t *testing.T) {
	for _, c := range []struct {
		got, want int
	}{
		{BasicInformationSize, 40}, {StandardInformationSize, 24}, {NetworkOpenInformationSize, 56},
		{CompressionInformationSize, 16}, {IdInformationSize, 24}, {ObjectIDInformationSize, 72},
		{FsControlInformationSize, 48}, {FsObjectIDInformationSize, 64}, {FsSectorSizeInformationSize, 28},
		{FsFullSizeInformationSize, 32}, {DuplicateExtentsDataSize, 40}, {DuplicateExtentsDataExSize, 56},
		{OffloadReadInputSize, 32}, {OffloadReadOutputSize, 528}, {OffloadWriteInputSize, 544},
		{OffloadWriteOutputSize, 16}, {NTFSVolumeDataSize, 96}, {GetIntegrityInformationSize, 16},
		{allInformationFixed, 96}, {StatInformationSize, 72}, {PipeLocalInformationSize, 40},
		{SetIntegrityInformationExSize, 16},
	} {
		if c.got != c.want {
			t.Errorf("got %d, want %d", c.got, c.want)
		}
	}
}

var directoryClasses = []FileInformationClass{
	FileDirectoryInformation, FileFullDirectoryInformation, FileBothDirectoryInformation, FileNamesInformation,
	FileIDBothDirectoryInformation, FileIDFullDirectoryInformation, FileIDExtdDirectoryInformation,
	FileID64ExtdDirectoryInformation, FileID64ExtdBothDirectoryInformation, FileIDAllExtdDirectoryInformation,
	FileIDAllExtdBothDirectoryInformation,
}

func TestDirectoryEntriesFitTheirLimit(t *testing.T) {
	for _, class := range directoryClasses {
		if class.Use() != ClassDirectory {
			t.Errorf("%v: use %v", class, class.Use())
		}
		for limit := 0; limit < 400; limit++ {
			prefix := []byte("head")
			l, ok := NewDirectoryList(prefix, limit, class)
			if !ok {
				t.Fatalf("%v is no directory class", class)
			}
			added := 0
			for _, n := range []string{"a", "bb.txt", "ç", "long name.vhdx"} {
				if !l.Add(&DirectoryEntry{Name: n, FileID: uint64(added) + 7, ShortName: []byte("S~1"), FileAttributes: 0x20, EaSize: 5}) {
					break
				}
				added++
			}
			if l.Len() > limit {
				t.Fatalf("%v: %d bytes with limit %d", class, l.Len(), limit)
			}
			seen := 0
			err := DecodeDirectory(class, l.Bytes()[4:], func(e *DirectoryEntry) error {
				seen++
				return nil
			})
			if err != nil || seen != added {
				t.Fatalf("%v limit %d: %d entries of %d, %v", class, limit, seen, added, err)
			}
		}
	}
}

func TestDirectoryAlignment(t *testing.T) {
	l, _ := NewDirectoryList(nil, 1000, FileNamesInformation)
	l.Add(&DirectoryEntry{Name: "a"})
	if l.Len() != 14 {
		t.Errorf("the last entry is padded: %d", l.Len())
	}
	l.Add(&DirectoryEntry{Name: "b"})
	if l.Len() != 16+14 || le.Uint32(l.Bytes()) != 16 || le.Uint32(l.Bytes()[16:]) != 0 {
		t.Errorf("entries are not 8-aligned: % x", l.Bytes())
	}
}

func TestReparsePointsShowTheirTag(t *testing.T) {
	for _, class := range directoryClasses {
		l, _ := NewDirectoryList(nil, 1000, class)
		in := DirectoryEntry{Name: "x", EaSize: 9, FileAttributes: FileAttributeReparsePoint, ReparseTag: ReparseTagSymlink}
		l.Add(&in)
		DecodeDirectory(class, l.Bytes(), func(e *DirectoryEntry) error {
			if y, _ := class.layout(); y.ea != 0 && e.ReparseTag != ReparseTagSymlink {
				t.Errorf("%v: tag %#x", class, e.ReparseTag)
			}
			return nil
		})
	}
}

func FuzzDirectory(f *testing.F) {
	for i, class := range directoryClasses {
		l, _ := NewDirectoryList(nil, 1000, class)
		l.Add(&DirectoryEntry{Name: "a.txt", ShortName: []byte("A.TXT")})
		l.Add(&DirectoryEntry{Name: "b"})
		f.Add(uint8(i), l.Bytes())
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		class := directoryClasses[int(which)%len(directoryClasses)]
		l, _ := NewDirectoryList(nil, 1<<30, class)
		var first []DirectoryEntry
		err := DecodeDirectory(class, b, func(e *DirectoryEntry) error {
			first = append(first, *e)
			l.Add(e)
			return nil
		})
		if err != nil {
			return
		}
		i := 0
		err = DecodeDirectory(class, l.Bytes(), func(e *DirectoryEntry) error {
			if !reflect.DeepEqual(*e, first[i]) {
				t.Fatalf("%v: %+v became %+v", class, first[i], *e)
			}
			i++
			return nil
		})
		if err != nil || i != len(first) {
			t.Fatalf("%v: %v, %d of %d", class, err, i, len(first))
		}
	})
}

func FuzzLists(f *testing.F) {
	sid := dtyp.MakeSID(5, 21, 1, 2, 3, 500)
	streams, notes, quotas := NewStreamList(nil, 500), NewNotifyList(nil, 500), NewQuotaList(nil, 500)
	for _, n := range []string{"", "a", "bc"} {
		streams.Add(&StreamEntry{1, 2, StreamWireName(n)})
		notes.Add(&NotifyEntry{ActionAdded, "f" + n})
		quotas.Add(&QuotaEntry{SID: sid})
	}
	links, _ := AppendLinks(nil, 500, []LinkEntry{{5, "a"}, {6, "bcd"}})
	for _, b := range [][]byte{streams.Bytes(), notes.Bytes(), quotas.Bytes(), links} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if list, err := DecodeStreams(b); err == nil {
			l := NewStreamList(nil, 1<<30)
			for i := range list {
				l.Add(&list[i])
			}
			again, err := DecodeStreams(l.Bytes())
			check(t, list, again, err)
		}
		if list, err := DecodeNotify(b); err == nil {
			l := NewNotifyList(nil, 1<<30)
			for i := range list {
				l.Add(&list[i])
			}
			again, err := DecodeNotify(l.Bytes())
			check(t, list, again, err)
		}
		if list, err := DecodeQuotas(b); err == nil {
			l := NewQuotaList(nil, 1<<30)
			for i := range list {
				l.Add(&list[i])
			}
			again, err := DecodeQuotas(l.Bytes())
			check(t, list, again, err)
		}
		if list, err := DecodeLinks(b); err == nil {
			enc, all := AppendLinks(nil, 1<<30, list)
			again, err := DecodeLinks(enc)
			check(t, list, again, err)
			if !all || le.Uint32(enc) != uint32(len(enc)) {
				t.Fatalf("links: all %v, BytesNeeded %d of %d", all, le.Uint32(enc), len(enc))
			}
		}
		DecodeGetQuotas(b)
		DecodeGetEAs(b)
		if r := new(ReparseData); r.Decode(b) == nil {
			new(SymlinkData).Decode(r)
		}
		for _, class := range []FileInformationClass{FileRenameInformation, FileRenameInformationEx} {
			var r, again RenameInformation
			if r.DecodeRename(b, class) == nil {
				err := again.DecodeRename(r.AppendRename(nil, class), class)
				check(t, r, again, err)
			}
		}
		var tok, tok2 OffloadToken
		if tok.Decode(b) == nil {
			enc := tok.Encode()
			check(t, tok.Decode(enc[:]), tok2.Decode(enc[:]), nil)
			check(t, tok, tok2, nil)
		}
	})
}

func check(t *testing.T, a, b any, err error) {
	t.Helper()
	if err != nil || !reflect.DeepEqual(a, b) {
		t.Fatalf("%+v became %+v, %v", a, b, err)
	}
}

func FuzzEAs(f *testing.F) {
	f.Add(EncodeEAs([]EA{{0, "ONE", []byte("value")}, {FileNeedEA, "TWO", nil}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := DecodeEAs(b)
		if err != nil {
			if !errors.Is(err, ErrEAList) && !errors.Is(err, ErrEAName) {
				t.Fatal(err)
			}
			return
		}
		again, err := DecodeEAs(EncodeEAs(list))
		check(t, list, again, err)
	})
}

func TestEANames(t *testing.T) {
	for name, want := range map[string]bool{"A": true, "user.x": true, "": false, "a:b": false, "a\x01": false, "a;": false, "é": true} {
		if ValidEAName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if got := PackedEASize([]EA{{Name: "AB", Value: []byte("123")}}); got != 14 {
		t.Errorf("packed size %d", got)
	}
}

func TestSymlinks(t *testing.T) {
	for _, tag := range []uint32{ReparseTagSymlink, ReparseTagMountPoint} {
		in := SymlinkData{SubstituteName: `\??\C:\target`, PrintName: `C:\target`, Relative: tag == ReparseTagSymlink}
		r := in.Reparse(tag)
		var wire ReparseData
		if err := wire.Decode(r.Append(nil)); err != nil {
			t.Fatal(err)
		}
		var out SymlinkData
		if err := out.Decode(&wire); err != nil || out != in {
			t.Errorf("%+v became %+v, %v", in, out, err)
		}
	}
}
