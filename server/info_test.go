package server_test

import (
	"bytes"
	"encoding/binary"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// Every class answers a buffer of every size: too short for the fixed part, too short
// for all, long enough.
func TestQueryInfoLengths(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("a file with a name.txt"))
	for _, tt := range []struct {
		info  smb2.InfoType
		class uint8
		fixed int
	}{
		{smb2.InfoFile, uint8(fscc.FileBasicInformation), 40},
		{smb2.InfoFile, uint8(fscc.FileStandardInformation), 24},
		{smb2.InfoFile, uint8(fscc.FileInternalInformation), 8},
		{smb2.InfoFile, uint8(fscc.FileEaInformation), 4},
		{smb2.InfoFile, uint8(fscc.FileAccessInformation), 4},
		{smb2.InfoFile, uint8(fscc.FilePositionInformation), 8},
		{smb2.InfoFile, uint8(fscc.FileModeInformation), 4},
		{smb2.InfoFile, uint8(fscc.FileAlignmentInformation), 4},
		{smb2.InfoFile, uint8(fscc.FileAllInformation), 104},
		{smb2.InfoFile, uint8(fscc.FileAlternateNameInformation), 8},
		{smb2.InfoFile, uint8(fscc.FileStreamInformation), 32},
		{smb2.InfoFile, uint8(fscc.FileCompressionInformation), 16},
		{smb2.InfoFile, uint8(fscc.FileNetworkOpenInformation), 56},
		{smb2.InfoFile, uint8(fscc.FileAttributeTagInformation), 8},
		{smb2.InfoFile, uint8(fscc.FileNormalizedNameInformation), 8},
		{smb2.InfoFile, uint8(fscc.FileIDInformation), 24},
		{smb2.InfoFileSystem, uint8(fscc.FileFsVolumeInformation), 24},
		{smb2.InfoFileSystem, uint8(fscc.FileFsSizeInformation), 24},
		{smb2.InfoFileSystem, uint8(fscc.FileFsDeviceInformation), 8},
		{smb2.InfoFileSystem, uint8(fscc.FileFsAttributeInformation), 16},
		{smb2.InfoFileSystem, uint8(fscc.FileFsControlInformation), 48},
		{smb2.InfoFileSystem, uint8(fscc.FileFsFullSizeInformation), 32},
		{smb2.InfoFileSystem, uint8(fscc.FileFsObjectIDInformation), 64},
		{smb2.InfoFileSystem, uint8(fscc.FileFsSectorSizeInformation), 28},
	} {
		full, err := f.QueryInfo(tt.info, tt.class, 0, 1<<16)
		if err != nil {
			t.Errorf("%v %d: %v", tt.info, tt.class, err)
			continue
		}
		for max := 0; max <= len(full); max++ {
			status := ntstatus.Success
			switch {
			case max < tt.fixed:
				status = ntstatus.InfoLengthMismatch
			case max < len(full):
				status = ntstatus.BufferOverflow
			}
			got, err := f.QueryInfo(tt.info, tt.class, 0, uint32(max))
			want(t, fscc.FileInformationClass(tt.class).String(), err, status)
			if len(got) > max {
				t.Fatalf("%v %d: %d bytes for a buffer of %d", tt.info, tt.class, len(got), max)
			}
		}
	}
}

func TestQueryInfoRefusals(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{}, "ann", "vms")
	f := open(t, tree, client.OpenFile("f"))
	blind := client.OpenFile("f")
	blind.DesiredAccess = dtyp.Synchronize
	nothing := open(t, tree, blind)
	old := open(t, a.connect(dialect(smb2.Dialect210), "ann", "vms"), client.OpenFile("f"))
	for _, tt := range []struct {
		name   string
		file   *client.File
		info   smb2.InfoType
		class  uint8
		status ntstatus.Status
	}{
		{"a directory class", f, smb2.InfoFile, uint8(fscc.FileBothDirectoryInformation), ntstatus.InvalidInfoClass},
		{"a class that is for setting", f, smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), ntstatus.InvalidInfoClass},
		{"a local class", f, smb2.InfoFile, uint8(fscc.FileHardLinkInformation), ntstatus.NotSupported},
		{"no class", f, smb2.InfoFile, 200, ntstatus.InvalidInfoClass},
		{"a local class of file systems", f, smb2.InfoFileSystem, uint8(fscc.FileFsLabelInformation), ntstatus.NotSupported},
		{"no class of file systems", f, smb2.InfoFileSystem, 77, ntstatus.InvalidInfoClass},
		{"no kind of information", f, 9, 1, ntstatus.InvalidParameter},
		{"attributes without the right", nothing, smb2.InfoFile, uint8(fscc.FileBasicInformation), ntstatus.AccessDenied},
		{"all without the right", nothing, smb2.InfoFile, uint8(fscc.FileAllInformation), ntstatus.AccessDenied},
		{"EAs without the right", nothing, smb2.InfoFile, uint8(fscc.FileFullEaInformation), ntstatus.AccessDenied},
		{"sizes need none", nothing, smb2.InfoFile, uint8(fscc.FileStandardInformation), ntstatus.Success},
		{"no EAs", f, smb2.InfoFile, uint8(fscc.FileFullEaInformation), ntstatus.NoEasOnFile},
		{"id in 2.1", old, smb2.InfoFile, uint8(fscc.FileIDInformation), ntstatus.NotSupported},
		{"normalized name in 2.1", old, smb2.InfoFile, uint8(fscc.FileNormalizedNameInformation), ntstatus.NotSupported},
	} {
		_, err := tt.file.QueryInfo(tt.info, tt.class, 0, 1<<16)
		want(t, tt.name, err, tt.status)
	}
}

func TestSecurityNeedsRoomAndRights(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("f"))
	const parts = smb2.SecurityOwner | smb2.SecurityGroup | smb2.SecurityDACL
	sd, err := f.QueryInfo(smb2.InfoSecurity, 0, parts, 1<<16)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := dtyp.DecodeSecurityDescriptor(sd); err != nil {
		t.Error(err)
	}
	resp, _ := tree.Call(&smb2.QueryInfoRequest{InfoType: smb2.InfoSecurity, AdditionalInformation: parts, OutputBufferLength: 10, FileID: f.ID}, nil)
	want(t, "too little room", resp.Status(), ntstatus.BufferTooSmall)
	var e smb2.ErrorResponse
	if err := resp.Decode(&e); err != nil {
		t.Fatal(err)
	}
	r := e.ErrorContexts()
	if !r.Next() || len(r.Data) != 4 || int(binary.LittleEndian.Uint32(r.Data)) != len(sd) {
		t.Errorf("error data %x does not tell %d", e.Data, len(sd))
	}
	_, err = f.QueryInfo(smb2.InfoSecurity, 0, smb2.SecuritySACL, 1<<16)
	want(t, "SACL without ACCESS_SYSTEM_SECURITY", err, ntstatus.AccessDenied)
	m := client.OpenFile("f")
	m.DesiredAccess = dtyp.ReadControl
	reader := open(t, tree, m)
	want(t, "set without WRITE_DAC", reader.SetInfo(smb2.InfoSecurity, 0, smb2.SecurityDACL, sd), ntstatus.AccessDenied)
	want(t, "set", f.SetInfo(smb2.InfoSecurity, 0, smb2.SecurityDACL, sd), ntstatus.Success)
	want(t, "set nonsense", f.SetInfo(smb2.InfoSecurity, 0, smb2.SecurityDACL, []byte("nonsense that is long enough")), ntstatus.InvalidSecurityDescr)
}

func TestSetInfo(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("f"))
	taken := open(t, tree, client.OpenFile("taken"))
	taken.Close()
	m := client.OpenFile("f")
	m.DesiredAccess = dtyp.FileReadAttributes | dtyp.FileReadData
	reader := open(t, tree, m)
	rename := func(class fscc.FileInformationClass, to string, flags uint32, root uint64) []byte {
		return (&fscc.RenameInformation{Flags: flags, FileName: to, RootDirectory: root}).AppendRename(nil, class)
	}
	eof := (&fscc.EndOfFileInformation{EndOfFile: 5000}).Append(nil)
	for _, tt := range []struct {
		name   string
		file   *client.File
		class  fscc.FileInformationClass
		buffer []byte
		status ntstatus.Status
	}{
		{"end of file", f, fscc.FileEndOfFileInformation, eof, ntstatus.Success},
		{"end of file without the right", reader, fscc.FileEndOfFileInformation, eof, ntstatus.AccessDenied},
		{"end of file, cut off", f, fscc.FileEndOfFileInformation, eof[:7], ntstatus.InfoLengthMismatch},
		{"nothing", f, fscc.FileEndOfFileInformation, nil, ntstatus.InvalidParameter},
		{"valid data beyond the end", f, fscc.FileValidDataLengthInformation, (&fscc.ValidDataLengthInformation{ValidDataLength: 5001}).Append(nil), ntstatus.InvalidParameter},
		{"allocation", f, fscc.FileAllocationInformation, (&fscc.AllocationInformation{AllocationSize: 8192}).Append(nil), ntstatus.Success},
		{"position", f, fscc.FilePositionInformation, (&fscc.PositionInformation{CurrentByteOffset: 77}).Append(nil), ntstatus.Success},
		{"mode", f, fscc.FileModeInformation, (&fscc.ModeInformation{Mode: 2}).Append(nil), ntstatus.Success},
		{"no mode", f, fscc.FileModeInformation, (&fscc.ModeInformation{Mode: 1}).Append(nil), ntstatus.InvalidParameter},
		{"attributes", f, fscc.FileBasicInformation, (&fscc.BasicInformation{FileAttributes: fscc.FileAttributeHidden}).Append(nil), ntstatus.Success},
		{"attributes without the right", reader, fscc.FileBasicInformation, (&fscc.BasicInformation{}).Append(nil), ntstatus.AccessDenied},
		{"short name", f, fscc.FileShortNameInformation, (&fscc.NameInformation{FileName: "SHORT.TXT"}).Append(nil), ntstatus.ShortNamesNotEnabledOnVolume},
		{"rename without the right", reader, fscc.FileRenameInformation, rename(fscc.FileRenameInformation, "g", 0, 0), ntstatus.AccessDenied},
		{"rename into a handle's directory", f, fscc.FileRenameInformation, rename(fscc.FileRenameInformation, "g", 0, 1), ntstatus.InvalidParameter},
		{"rename onto another", f, fscc.FileRenameInformation, rename(fscc.FileRenameInformation, "taken", 0, 0), ntstatus.ObjectNameCollision},
		{"rename over another", f, fscc.FileRenameInformationEx, rename(fscc.FileRenameInformationEx, "taken", fscc.RenameReplaceIfExists, 0), ntstatus.Success},
		{"link", f, fscc.FileLinkInformation, rename(fscc.FileLinkInformation, "second", 0, 0), ntstatus.Success},
		{"disposition", f, fscc.FileDispositionInformation, []byte{1}, ntstatus.Success},
		{"disposition taken back", f, fscc.FileDispositionInformationEx, make([]byte, 4), ntstatus.Success},
		{"a class that is for queries", f, fscc.FileStandardInformation, make([]byte, 24), ntstatus.InvalidInfoClass},
		{"no class", f, 222, make([]byte, 24), ntstatus.InvalidInfoClass},
	} {
		want(t, tt.name, tt.file.SetInfo(smb2.InfoFile, uint8(tt.class), 0, tt.buffer), tt.status)
	}
	b, err := f.QueryInfo(smb2.InfoFile, uint8(fscc.FileAllInformation), 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var all fscc.AllInformation
	if err := all.Decode(b); err != nil {
		t.Fatal(err)
	}
	if all.EndOfFile != 5000 || all.CurrentByteOffset != 77 || all.Mode != 2 || all.NumberOfLinks != 2 ||
		all.FileAttributes&fscc.FileAttributeHidden == 0 || all.FileName != `\taken` {
		t.Errorf("afterwards: %+v", all)
	}
	want(t, "a volume", f.SetInfo(smb2.InfoFileSystem, uint8(fscc.FileFsControlInformation), 0, make([]byte, 48)), ntstatus.AccessDenied)
	want(t, "quotas", f.SetInfo(smb2.InfoQuota, 0, 0, make([]byte, 48)), ntstatus.NotSupported)
}

func TestExtendedAttributes(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("f"))
	list := fscc.EncodeEAs([]fscc.EA{{Name: "ONE", Value: []byte("1")}, {Name: "TWO", Value: []byte("22")}, {Name: "THREE", Value: []byte("333")}})
	want(t, "set", f.SetInfo(smb2.InfoFile, uint8(fscc.FileFullEaInformation), 0, list), ntstatus.Success)
	query := func(flags uint32, index, max uint32, names ...string) ([]fscc.EA, error) {
		m := &smb2.QueryInfoRequest{InfoType: smb2.InfoFile, FileInfoClass: uint8(fscc.FileFullEaInformation),
			OutputBufferLength: max, AdditionalInformation: index, Flags: flags, FileID: f.ID}
		if len(names) > 0 {
			m.Input = fscc.AppendGetEAs(nil, names)
		}
		var resp smb2.QueryInfoResponse
		_, err := tree.Call(m, &resp)
		eas, bad := fscc.DecodeEAs(resp.Buffer)
		if err == nil && bad != nil {
			t.Fatal(bad)
		}
		return eas, err
	}
	for _, tt := range []struct {
		name   string
		flags  uint32
		index  uint32
		max    uint32
		ask    []string
		status ntstatus.Status
		first  string
		n      int
	}{
		{"one at a time", smb2.ScanReturnSingleEntry, 0, 1000, nil, ntstatus.Success, "ONE", 1},
		{"the next", smb2.ScanReturnSingleEntry, 0, 1000, nil, ntstatus.Success, "TWO", 1},
		{"the rest", 0, 0, 1000, nil, ntstatus.Success, "THREE", 1},
		{"no more", 0, 0, 1000, nil, ntstatus.NoMoreEas, "", 0},
		{"from the start", smb2.ScanRestart, 0, 1000, nil, ntstatus.Success, "ONE", 3},
		{"from an index", smb2.ScanIndexSpecified, 2, 1000, nil, ntstatus.Success, "TWO", 2},
		{"from nowhere", smb2.ScanIndexSpecified, 9, 1000, nil, ntstatus.NonexistentEAEntry, "", 0},
		{"by name", 0, 0, 1000, []string{"three"}, ntstatus.Success, "THREE", 1},
		{"no room at all", smb2.ScanRestart, 0, 4, nil, ntstatus.BufferTooSmall, "", 0},
	} {
		eas, err := query(tt.flags, tt.index, tt.max, tt.ask...)
		want(t, tt.name, err, tt.status)
		if err == nil && (len(eas) != tt.n || eas[0].Name != tt.first) {
			t.Errorf("%s: %v", tt.name, eas)
		}
	}
	_, err := query(smb2.ScanRestart, 0, 20)
	want(t, "room for some", err, ntstatus.BufferOverflow)
}

func TestQuotaQueries(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenDirectory(""))
	ask := func(q smb2.QueryQuotaInfo) ([]byte, error) {
		var resp smb2.QueryInfoResponse
		_, err := tree.Call(&smb2.QueryInfoRequest{InfoType: smb2.InfoQuota, OutputBufferLength: 1000, FileID: f.ID, Input: q.AppendTo(nil)}, &resp)
		return resp.Buffer, err
	}
	_, err := ask(smb2.QueryQuotaInfo{RestartScan: true})
	want(t, "all", err, ntstatus.NoMoreEntries)
	sid := dtyp.MakeSID(5, 21, 1, 2, 3, 1000).Append(nil)
	entry := binary.LittleEndian.AppendUint32(make([]byte, 4), uint32(len(sid)))
	entry = append(entry, sid...)
	b, err := ask(smb2.QueryQuotaInfo{SIDListLength: uint32(len(entry)), SIDBuffer: entry})
	if list, bad := fscc.DecodeQuotas(b); err != nil || bad != nil || len(list) != 1 || !bytes.Equal(list[0].SID.Append(nil), sid) {
		t.Errorf("one user: %v %v %v", list, err, bad)
	}
}
