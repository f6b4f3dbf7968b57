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

func control(f *client.File, code fscc.FSCTL, in []byte, max uint32) ([]byte, error) {
	return f.Ioctl(uint32(code), in, max)
}

func TestControlStatuses(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("f"))
	if _, err := f.WriteAt(bytes.Repeat([]byte{1}, 10000), 0); err != nil {
		t.Fatal(err)
	}
	dir := open(t, tree, client.OpenDirectory("dir"))
	m := client.OpenFile("f")
	m.DesiredAccess = dtyp.FileReadAttributes
	blind := open(t, tree, m)
	zero := func(from, to int64) []byte {
		return (&fscc.ZeroData{FileOffset: from, BeyondFinalZero: to}).Append(nil)
	}
	ranges := func(off, n int64) []byte { return (&fscc.AllocatedRange{FileOffset: off, Length: n}).Append(nil) }
	for _, tt := range []struct {
		name   string
		file   *client.File
		code   fscc.FSCTL
		in     []byte
		max    uint32
		status ntstatus.Status
	}{
		{"unknown", f, 0x000940FF, nil, 0, ntstatus.InvalidDeviceRequest},
		{"of a pipe", f, fscc.FsctlPipeTransceive, nil, 1000, ntstatus.InvalidDeviceRequest},
		{"shared disks, which are not served", f, fscc.FsctlQuerySharedVirtualDiskSupport, nil, 1000, ntstatus.InvalidDeviceRequest},
		{"sparse", f, fscc.FsctlSetSparse, nil, 0, ntstatus.Success},
		{"not sparse", f, fscc.FsctlSetSparse, []byte{0}, 0, ntstatus.Success},
		{"sparse directory", dir, fscc.FsctlSetSparse, nil, 0, ntstatus.InvalidParameter},
		{"sparse without the right", blind, fscc.FsctlSetSparse, nil, 0, ntstatus.AccessDenied},
		{"zeros", f, fscc.FsctlSetZeroData, zero(0, 4096), 0, ntstatus.Success},
		{"zeros backwards", f, fscc.FsctlSetZeroData, zero(5, 4), 0, ntstatus.InvalidParameter},
		{"zeros, cut off", f, fscc.FsctlSetZeroData, zero(0, 4096)[:15], 0, ntstatus.InvalidParameter},
		{"zeros without the right", blind, fscc.FsctlSetZeroData, zero(0, 4096), 0, ntstatus.AccessDenied},
		{"ranges", f, fscc.FsctlQueryAllocatedRanges, ranges(0, 10000), 1000, ntstatus.Success},
		{"ranges without room", f, fscc.FsctlQueryAllocatedRanges, ranges(0, 10000), 15, ntstatus.BufferTooSmall},
		{"no ranges need no room", f, fscc.FsctlQueryAllocatedRanges, ranges(1<<20, 10000), 0, ntstatus.Success},
		{"negative range", f, fscc.FsctlQueryAllocatedRanges, ranges(-1, 10), 1000, ntstatus.InvalidParameter},
		{"ranges without the right", blind, fscc.FsctlQueryAllocatedRanges, ranges(0, 10000), 1000, ntstatus.AccessDenied},
		{"regions", f, fscc.FsctlQueryFileRegions, nil, 1000, ntstatus.Success},
		{"regions without room", f, fscc.FsctlQueryFileRegions, nil, 20, ntstatus.BufferTooSmall},
		{"regions of another kind", f, fscc.FsctlQueryFileRegions, (&fscc.FileRegion{Length: 5, Usage: 2}).Append(nil), 1000, ntstatus.InvalidParameter},
		{"trim", f, fscc.FsctlFileLevelTrim, (&fscc.FileLevelTrim{Ranges: []fscc.LevelTrimRange{{Length: 4096}}}).Append(nil), 4, ntstatus.Success},
		{"trim less than a page", f, fscc.FsctlFileLevelTrim, (&fscc.FileLevelTrim{Ranges: []fscc.LevelTrimRange{{Offset: 1, Length: 4096}}}).Append(nil), 4, ntstatus.NoRangesProcessed},
		{"trim nothing", f, fscc.FsctlFileLevelTrim, (&fscc.FileLevelTrim{}).Append(nil), 4, ntstatus.InvalidParameter},
		{"trim with a key", f, fscc.FsctlFileLevelTrim, (&fscc.FileLevelTrim{Key: 1, Ranges: []fscc.LevelTrimRange{{Length: 4096}}}).Append(nil), 4, ntstatus.InvalidParameter},
		{"compression", f, fscc.FsctlGetCompression, nil, 2, ntstatus.Success},
		{"compression without room", f, fscc.FsctlGetCompression, nil, 1, ntstatus.BufferTooSmall},
		{"do not compress", f, fscc.FsctlSetCompression, []byte{0, 0}, 0, ntstatus.Success},
		{"compress", f, fscc.FsctlSetCompression, []byte{1, 0}, 0, ntstatus.NotSupported},
		{"compress somehow", f, fscc.FsctlSetCompression, []byte{9, 0}, 0, ntstatus.InvalidParameter},
		{"integrity", f, fscc.FsctlGetIntegrityInformation, nil, 16, ntstatus.Success},
		{"keep integrity", f, fscc.FsctlSetIntegrityInformation, []byte{0xFF, 0xFF, 0, 0, 0, 0, 0, 0}, 0, ntstatus.Success},
		{"some integrity", f, fscc.FsctlSetIntegrityInformation, []byte{2, 0, 0, 0, 0, 0, 0, 0}, 0, ntstatus.NotSupported},
		{"no object id", f, fscc.FsctlGetObjectID, nil, 64, ntstatus.ObjectidNotFound},
		{"object id", f, fscc.FsctlCreateOrGetObjectID, nil, 64, ntstatus.Success},
		{"object id without room", f, fscc.FsctlGetObjectID, nil, 63, ntstatus.InvalidParameter},
		{"delete object id", f, fscc.FsctlDeleteObjectID, nil, 0, ntstatus.Success},
		{"no reparse point", f, fscc.FsctlGetReparsePoint, nil, 1000, ntstatus.NotAReparsePoint},
		{"snapshots", f, fscc.FsctlSrvEnumerateSnapshots, nil, 16, ntstatus.Success},
		{"snapshots without room", f, fscc.FsctlSrvEnumerateSnapshots, nil, 15, ntstatus.InvalidParameter},
		{"resilience", f, fscc.FsctlLMRRequestResiliency, (&smb2.NetworkResiliencyRequest{Timeout: 300_999}).AppendTo(nil), 0, ntstatus.Success},
		{"too much of it", f, fscc.FsctlLMRRequestResiliency, (&smb2.NetworkResiliencyRequest{Timeout: 301_000}).AppendTo(nil), 0, ntstatus.InvalidParameter},
		{"resilience, cut off", f, fscc.FsctlLMRRequestResiliency, make([]byte, 7), 0, ntstatus.InvalidParameter},
	} {
		out, err := control(tt.file, tt.code, tt.in, tt.max)
		want(t, tt.name, err, tt.status)
		if len(out) > int(tt.max) {
			t.Errorf("%s: %d bytes for a buffer of %d", tt.name, len(out), tt.max)
		}
	}
}

func TestAllocatedRangesOverflow(t *testing.T) {
	f := open(t, vms(t), client.OpenFile("f"))
	for _, off := range []int64{0, 1 << 20} {
		if _, err := f.WriteAt([]byte("data"), off); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := control(f, fscc.FsctlSetSparse, nil, 0); err != nil {
		t.Fatal(err)
	}
	ask := (&fscc.AllocatedRange{Length: 2 << 20}).Append(nil)
	for max, status := range map[uint32]ntstatus.Status{16: ntstatus.BufferOverflow, 31: ntstatus.BufferOverflow, 32: ntstatus.Success} {
		out, err := control(f, fscc.FsctlQueryAllocatedRanges, ask, max)
		want(t, "room for some", err, status)
		if n := len(out) / fscc.AllocatedRangeSize; n != int(max)/fscc.AllocatedRangeSize {
			t.Errorf("room for %d bytes: %d ranges", max, n)
		}
	}
}

func resumeKey(t *testing.T, f *client.File) smb2.ResumeKey {
	t.Helper()
	out, err := control(f, fscc.FsctlSrvRequestResumeKey, nil, 32)
	if err != nil {
		t.Fatal(err)
	}
	var k smb2.SrvRequestResumeKey
	if err := k.Decode(out); err != nil {
		t.Fatal(err)
	}
	return k.ResumeKey
}

func TestCopychunk(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{}, "ann", "vms")
	src, dst := open(t, tree, client.OpenFile("src")), open(t, tree, client.OpenFile("dst"))
	data := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	if _, err := src.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	m := client.OpenFile("dst")
	m.DesiredAccess = dtyp.FileWriteData
	writer := open(t, tree, m)
	foreign := resumeKey(t, open(t, a.connect(client.Negotiation{}, "ann", "vms"), client.OpenFile("src")))
	key := resumeKey(t, src)
	limits := smb2.SrvCopychunkResponse{ChunksWritten: 256, ChunkBytesWritten: 1 << 20, TotalBytesWritten: 16 << 20}
	chunk := func(from, to uint64, n uint32) smb2.SrvCopychunk {
		return smb2.SrvCopychunk{SourceOffset: from, TargetOffset: to, Length: n}
	}
	for _, tt := range []struct {
		name   string
		to     *client.File
		code   fscc.FSCTL
		key    smb2.ResumeKey
		chunks []smb2.SrvCopychunk
		max    uint32
		status ntstatus.Status
		resp   smb2.SrvCopychunkResponse
	}{
		{"two", dst, fscc.FsctlSrvCopychunk, key, []smb2.SrvCopychunk{chunk(0, 8192, 8192), chunk(100, 5, 7)}, 12, ntstatus.Success, smb2.SrvCopychunkResponse{ChunksWritten: 2, TotalBytesWritten: 8199}},
		{"to a file that cannot be read", writer, fscc.FsctlSrvCopychunk, key, []smb2.SrvCopychunk{chunk(0, 0, 1)}, 12, ntstatus.AccessDenied, smb2.SrvCopychunkResponse{}},
		{"which need not be", writer, fscc.FsctlSrvCopychunkWrite, key, []smb2.SrvCopychunk{chunk(0, 0, 1)}, 12, ntstatus.Success, smb2.SrvCopychunkResponse{ChunksWritten: 1, TotalBytesWritten: 1}},
		{"another session's key", dst, fscc.FsctlSrvCopychunk, foreign, []smb2.SrvCopychunk{chunk(0, 0, 1)}, 12, ntstatus.ObjectNameNotFound, smb2.SrvCopychunkResponse{}},
		{"no room", dst, fscc.FsctlSrvCopychunk, key, []smb2.SrvCopychunk{chunk(0, 0, 1)}, 11, ntstatus.InvalidParameter, smb2.SrvCopychunkResponse{}},
		{"beyond the source", dst, fscc.FsctlSrvCopychunk, key, []smb2.SrvCopychunk{chunk(0, 0, 10), chunk(16000, 0, 1000)}, 12, ntstatus.InvalidViewSize, smb2.SrvCopychunkResponse{ChunksWritten: 1, TotalBytesWritten: 10}},
		{"an empty chunk", dst, fscc.FsctlSrvCopychunk, key, []smb2.SrvCopychunk{chunk(0, 0, 0)}, 12, ntstatus.InvalidParameter, limits},
		{"a large chunk", dst, fscc.FsctlSrvCopychunk, key, []smb2.SrvCopychunk{chunk(0, 0, 1<<20+1)}, 12, ntstatus.InvalidParameter, limits},
		{"many chunks", dst, fscc.FsctlSrvCopychunk, key, make([]smb2.SrvCopychunk, 257), 12, ntstatus.InvalidParameter, limits},
	} {
		in := (&smb2.SrvCopychunkCopy{SourceKey: tt.key, Chunks: tt.chunks}).AppendTo(nil)
		out, err := control(tt.to, tt.code, in, tt.max)
		want(t, tt.name, err, tt.status)
		var resp smb2.SrvCopychunkResponse
		if len(out) > 0 {
			if err := resp.Decode(out); err != nil {
				t.Fatal(err)
			}
		}
		if resp != tt.resp {
			t.Errorf("%s: %+v, want %+v", tt.name, resp, tt.resp)
		}
	}
	got := make([]byte, 8192)
	if _, err := dst.ReadAt(got, 8192); err != nil || !bytes.Equal(got, data[:8192]) {
		t.Error("the copy differs", err)
	}
}

func TestDuplicateExtents(t *testing.T) {
	tree := vms(t)
	src, dst := open(t, tree, client.OpenFile("src")), open(t, tree, client.OpenFile("dst"))
	data := bytes.Repeat([]byte("duplicate me    "), 1024)
	if _, err := src.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	size := (&fscc.EndOfFileInformation{EndOfFile: int64(len(data))}).Append(nil)
	want(t, "size", dst.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, size), ntstatus.Success)
	id := func(f *client.File) (b [16]byte) {
		binary.LittleEndian.PutUint64(b[:], f.ID.Persistent)
		binary.LittleEndian.PutUint64(b[8:], f.ID.Volatile)
		return b
	}
	whole := fscc.DuplicateExtentsData{SourceFileID: id(src), ByteCount: int64(len(data))}
	_, err := control(dst, fscc.FsctlDuplicateExtentsToFile, whole.Append(nil), 0)
	want(t, "all of it", err, ntstatus.Success)
	got := make([]byte, len(data))
	if _, err := dst.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
		t.Error("the duplicate differs", err)
	}
	odd := whole
	odd.SourceFileOffset = 100
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFile, odd.Append(nil), 0)
	want(t, "an odd offset", err, ntstatus.InvalidParameter)
	nobody := whole
	nobody.SourceFileID[15]++
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFile, nobody.Append(nil), 0)
	want(t, "no source", err, ntstatus.InvalidHandle)
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFile, whole.Append(nil)[:39], 0)
	want(t, "cut off", err, ntstatus.InvalidParameter)
	ex := fscc.DuplicateExtentsDataEx{StructureSize: 0x30, SourceFileID: id(src), ByteCount: 4096, Flags: fscc.DuplicateExtentsSourceAtomic}
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFileEx, ex.Append(nil), 0)
	want(t, "atomically", err, ntstatus.Success)
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFileEx, ex.Append(nil)[:48], 0)
	want(t, "without its flags", err, ntstatus.Success)
	ex.Flags = 0xF0
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFileEx, ex.Append(nil), 0)
	want(t, "with flags of the future", err, ntstatus.Success)
	ex.StructureSize = 56
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFileEx, ex.Append(nil), 0)
	want(t, "with another size", err, ntstatus.NotSupported)
	m := client.OpenFile("src")
	m.DesiredAccess = dtyp.FileWriteData
	blind := fscc.DuplicateExtentsData{SourceFileID: id(open(t, dst.Tree, m)), ByteCount: 4096}
	_, err = control(dst, fscc.FsctlDuplicateExtentsToFile, blind.Append(nil), 0)
	want(t, "a source that may not be read", err, ntstatus.InvalidParameter)
	// As cp --reflink asks for a file whose length is no multiple of a cluster.
	tail := open(t, dst.Tree, client.OpenFile("tail"))
	if _, err := tail.WriteAt(bytes.Repeat([]byte("tail"), 2500), 0); err != nil {
		t.Fatal(err)
	}
	link := open(t, dst.Tree, client.OpenFile("link"))
	eof := fscc.EndOfFileInformation{EndOfFile: 10000}
	if err := link.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, eof.Append(nil)); err != nil {
		t.Fatal(err)
	}
	odd = fscc.DuplicateExtentsData{SourceFileID: id(tail), ByteCount: 10000}
	_, err = control(link, fscc.FsctlDuplicateExtentsToFile, odd.Append(nil), 0)
	want(t, "all of a file of odd length", err, ntstatus.Success)
	got = make([]byte, 10001)
	if n, _ := link.ReadAt(got, 0); n != 10000 || !bytes.Equal(got[:n], bytes.Repeat([]byte("tail"), 2500)) {
		t.Errorf("a clone of 10000 bytes has %d", n)
	}
}
