package server_test

import (
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/store"
)

// A share with a quota tells its numbers for the volume's, refuses with STATUS_DISK_FULL what goes
// beyond them, and still reads, overwrites and deletes.
func TestQuota(t *testing.T) {
	a := newLife(t, nil)
	const limit, unit = 1 << 20, 4096
	if err := a.tree.Store().(store.Quotas).SetQuota(a.tree.RootID(), limit); err != nil {
		t.Fatal(err)
	}
	ann := a.host(hostGUID, "ann")
	f := open(t, ann, client.OpenFile("disk.vhdx"))
	sizes := func(free int64) {
		t.Helper()
		var size fscc.FsSizeInformation
		b, err := f.QueryInfo(smb2.InfoFileSystem, uint8(fscc.FileFsSizeInformation), 0, 1<<10)
		if err == nil {
			err = size.Decode(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		var full fscc.FsFullSizeInformation
		if b, err = f.QueryInfo(smb2.InfoFileSystem, uint8(fscc.FileFsFullSizeInformation), 0, 1<<10); err == nil {
			err = full.Decode(b)
		}
		if err != nil {
			t.Fatal(err)
		}
		if size.TotalAllocationUnits != limit/unit || size.AvailableAllocationUnits != free/unit ||
			full.TotalAllocationUnits != limit/unit || full.CallerAvailableAllocationUnits != free/unit || full.ActualAvailableAllocationUnits <= limit/unit {
			t.Errorf("%+v and %+v, want %d free of %d", size, full, free/unit, limit/unit)
		}
	}
	sizes(limit)
	write := func(n int, off int64, status ntstatus.Status) {
		t.Helper()
		_, err := f.WriteAt(make([]byte, n), off)
		want(t, "write", err, status)
	}
	write(256<<10, 0, ntstatus.Success)
	sizes(limit - 256<<10)
	write(1<<10, limit-1, ntstatus.DiskFull)
	write(256<<10, limit-256<<10, ntstatus.Success)
	sizes(0)
	write(1, limit, ntstatus.DiskFull)
	write(64<<10, 128<<10, ntstatus.Success)
	b := (&fscc.EndOfFileInformation{EndOfFile: limit + 1}).Append(nil)
	want(t, "end of file", f.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, b), ntstatus.DiskFull)
	b = (&fscc.AllocationInformation{AllocationSize: 2 * limit}).Append(nil)
	want(t, "allocation", f.SetInfo(smb2.InfoFile, uint8(fscc.FileAllocationInformation), 0, b), ntstatus.DiskFull)
	g := open(t, ann, client.OpenFile("copy"))
	// A copy by metadata needs the room as well: its target would have to grow first.
	b = (&fscc.EndOfFileInformation{EndOfFile: 64 << 10}).Append(nil)
	want(t, "a copy's size", g.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, b), ntstatus.DiskFull)
	if _, err := f.ReadAt(make([]byte, 64<<10), 128<<10); err != nil {
		t.Error(err)
	}
	sizes(0)
	b = (&fscc.DispositionInformation{DeletePending: true}).Append(nil)
	want(t, "delete", f.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, b), ntstatus.Success)
	want(t, "close", f.Close(), ntstatus.Success)
	f = g
	sizes(limit)
	write(512<<10, 0, ntstatus.Success)
}
