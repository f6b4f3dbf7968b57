package server_test

import (
	"bytes"
	"math"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

func TestReadBounds(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("data"))
	if _, err := f.WriteAt(bytes.Repeat([]byte{7}, 100), 0); err != nil {
		t.Fatal(err)
	}
	dir := open(t, tree, client.OpenDirectory("dir"))
	blind := client.OpenFile("data")
	blind.DesiredAccess = dtyp.FileReadAttributes
	noData := open(t, tree, blind)
	runs := client.OpenFile("data")
	runs.DesiredAccess = dtyp.FileExecute
	executable := open(t, tree, runs)
	for _, tt := range []struct {
		name    string
		file    *client.File
		offset  uint64
		length  uint32
		minimum uint32
		status  ntstatus.Status
		n       int
	}{
		{"all", f, 0, 100, 0, ntstatus.Success, 100},
		{"beyond the end", f, 90, 100, 0, ntstatus.Success, 10},
		{"at the end", f, 100, 1, 0, ntstatus.EndOfFile, 0},
		{"nothing at the end", f, 100, 0, 0, ntstatus.Success, 0},
		{"less than the minimum", f, 90, 100, 11, ntstatus.EndOfFile, 0},
		{"minimum above the length", f, 0, 5, 10, ntstatus.EndOfFile, 0},
		{"the last offset there is", f, math.MaxInt64, 0, 0, ntstatus.Success, 0},
		{"behind it", f, math.MaxInt64, 1, 0, ntstatus.InvalidParameter, 0},
		{"negative offset", f, 1 << 63, 0, 0, ntstatus.InvalidParameter, 0},
		{"too much", f, 0, 8<<20 + 1, 0, ntstatus.InvalidParameter, 0},
		{"a directory", dir, 0, 1, 0, ntstatus.InvalidDeviceRequest, 0},
		{"without the right", noData, 0, 1, 0, ntstatus.AccessDenied, 0},
		{"with the right to execute", executable, 0, 1, 0, ntstatus.Success, 1},
	} {
		var resp smb2.ReadResponse
		_, err := tree.Call(&smb2.ReadRequest{FileID: tt.file.ID, Offset: tt.offset, Length: tt.length, MinimumCount: tt.minimum}, &resp)
		want(t, tt.name, err, tt.status)
		if err == nil && len(resp.Data) != tt.n {
			t.Errorf("%s: %d bytes, want %d", tt.name, len(resp.Data), tt.n)
		}
	}
}

func TestWriteBounds(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("data"))
	dir := open(t, tree, client.OpenDirectory("dir"))
	reading := client.OpenFile("data")
	reading.DesiredAccess = dtyp.FileReadData
	reader := open(t, tree, reading)
	appending := client.OpenFile("data")
	appending.DesiredAccess = dtyp.FileAppendData
	appender := open(t, tree, appending)
	for _, tt := range []struct {
		name   string
		file   *client.File
		offset uint64
		data   string
		status ntstatus.Status
	}{
		{"new data", f, 0, "0123456789", ntstatus.Success},
		{"nothing far away", f, math.MaxInt64, "", ntstatus.Success},
		{"something there", f, math.MaxInt64, "x", ntstatus.InvalidParameter},
		{"the end of file by -1", f, math.MaxUint64, "x", ntstatus.InvalidParameter},
		{"negative offset", f, 1 << 63, "", ntstatus.InvalidParameter},
		{"a directory", dir, 0, "x", ntstatus.InvalidDeviceRequest},
		{"without the right", reader, 0, "x", ntstatus.AccessDenied},
		{"append at the end", appender, 10, "x", ntstatus.Success},
		{"append in the middle", appender, 3, "x", ntstatus.AccessDenied},
	} {
		var resp smb2.WriteResponse
		_, err := tree.Call(&smb2.WriteRequest{FileID: tt.file.ID, Offset: tt.offset, Data: []byte(tt.data)}, &resp)
		want(t, tt.name, err, tt.status)
		if err == nil && int(resp.Count) != len(tt.data) {
			t.Errorf("%s: count %d", tt.name, resp.Count)
		}
	}
}

// SMB2_WRITEFLAG_WRITE_THROUGH needs an unbuffered open or write, which the dialects
// have at different times.
func TestWriteThroughFlag(t *testing.T) {
	const through, unbuffered = smb2.WriteFlagWriteThrough, smb2.WriteFlagUnbuffered
	a := newArray(t)
	for _, tt := range []struct {
		dialect smb2.Dialect
		options smb2.CreateOptions
		flags   smb2.WriteFlags
		status  ntstatus.Status
	}{
		{smb2.Dialect202, 0, through, ntstatus.Success},
		{smb2.Dialect210, 0, through, ntstatus.InvalidParameter},
		{smb2.Dialect210, smb2.OptionNoIntermediateBuffering, through, ntstatus.Success},
		{smb2.Dialect300, 0, through | unbuffered, ntstatus.InvalidParameter},
		{smb2.Dialect302, 0, through | unbuffered, ntstatus.Success},
		{smb2.Dialect311, 0, through, ntstatus.InvalidParameter},
		{smb2.Dialect311, 0, through | unbuffered, ntstatus.Success},
		{smb2.Dialect311, smb2.OptionNoIntermediateBuffering, through, ntstatus.Success},
	} {
		m := client.OpenFile("through")
		m.CreateOptions |= tt.options
		f := open(t, a.connect(dialect(tt.dialect), "ann", "vms"), m)
		_, err := f.WriteWith([]byte("x"), 0, tt.flags)
		want(t, tt.dialect.String(), err, tt.status)
		f.Close()
	}
}

func TestFlushNeedsWriteAccess(t *testing.T) {
	tree := vms(t)
	want(t, "all rights", open(t, tree, client.OpenFile("f")).Flush(), ntstatus.Success)
	m := client.OpenFile("f")
	m.DesiredAccess = dtyp.FileReadData
	want(t, "reading only", open(t, tree, m).Flush(), ntstatus.AccessDenied)
}

func TestClose(t *testing.T) {
	tree := vms(t)
	f := open(t, tree, client.OpenFile("f"))
	if _, err := f.WriteAt([]byte("twelve bytes"), 0); err != nil {
		t.Fatal(err)
	}
	resp, err := f.CloseWith(smb2.CloseFlagPostqueryAttrib)
	if err != nil || resp.Flags != smb2.CloseFlagPostqueryAttrib || resp.EndOfFile != 12 || resp.LastWriteTime == 0 {
		t.Errorf("with attributes: %+v %v", resp, err)
	}
	want(t, "again", f.Close(), ntstatus.FileClosed)
	f = open(t, tree, client.OpenFile("f"))
	if resp, err = f.CloseWith(0); err != nil || resp != (smb2.CloseResponse{}) {
		t.Errorf("without: %+v %v", resp, err)
	}
	m := client.OpenFile("f")
	m.CreateOptions |= smb2.OptionDeleteOnClose
	open(t, tree, m).Close()
	m = client.OpenFile("f")
	m.CreateDisposition = smb2.DispositionOpen
	_, err = tree.Create(m)
	want(t, "after delete on close", err, ntstatus.ObjectNameNotFound)
}

func TestLockArrays(t *testing.T) {
	const (
		shared, exclusive = smb2.LockFlagSharedLock, smb2.LockFlagExclusiveLock
		unlock, now       = smb2.LockFlagUnlock, smb2.LockFlagFailImmediately
	)
	tree := vms(t)
	f, other := open(t, tree, client.OpenFile("f")), open(t, tree, client.OpenFile("f"))
	at := func(off uint64, flags smb2.LockFlags) smb2.LockElement {
		return smb2.LockElement{Offset: off, Length: 1, Flags: flags}
	}
	for _, tt := range []struct {
		name   string
		file   *client.File
		locks  []smb2.LockElement
		status ntstatus.Status
	}{
		{"none", f, nil, ntstatus.InvalidParameter},
		{"no flag", f, []smb2.LockElement{at(0, 0)}, ntstatus.InvalidParameter},
		{"both kinds", f, []smb2.LockElement{at(0, shared|exclusive)}, ntstatus.InvalidParameter},
		{"one", f, []smb2.LockElement{at(0, exclusive)}, ntstatus.Success},
		{"taken", other, []smb2.LockElement{at(0, shared|now)}, ntstatus.LockNotGranted},
		{"several that may wait", other, []smb2.LockElement{at(5, shared|now), at(6, shared)}, ntstatus.InvalidParameter},
		{"several of which one is taken", other, []smb2.LockElement{at(5, exclusive|now), at(0, exclusive|now)}, ntstatus.LockNotGranted},
		{"what those had locked before", f, []smb2.LockElement{at(5, exclusive|now)}, ntstatus.Success},
		{"unlock with another flag", f, []smb2.LockElement{at(0, unlock|now)}, ntstatus.InvalidParameter},
		{"unlock what is not locked", f, []smb2.LockElement{at(9, unlock)}, ntstatus.RangeNotLocked},
		{"unlock until an error", f, []smb2.LockElement{at(0, unlock), at(9, unlock), at(5, unlock)}, ntstatus.RangeNotLocked},
		{"what was unlocked before it", other, []smb2.LockElement{at(0, exclusive|now)}, ntstatus.Success},
		{"what was not", other, []smb2.LockElement{at(5, exclusive|now)}, ntstatus.LockNotGranted},
		{"a range that wraps", f, []smb2.LockElement{{Offset: math.MaxUint64, Length: 2, Flags: shared | now}}, ntstatus.InvalidLockRange},
	} {
		want(t, tt.name, tt.file.Lock(tt.locks...), tt.status)
	}
}

func TestLockWaits(t *testing.T) {
	tree := vms(t)
	f, other := open(t, tree, client.OpenFile("f")), open(t, tree, client.OpenFile("f"))
	lock := smb2.LockElement{Length: 10, Flags: smb2.LockFlagExclusiveLock}
	want(t, "first", f.Lock(lock), ntstatus.Success)
	wait := func() (*client.Pending, uint64) {
		p, err := other.StartLock(lock)
		if err != nil {
			t.Fatal(err)
		}
		interim, final, err := p.Interim()
		if err != nil || final {
			t.Fatalf("no interim response: %v %v", final, err)
		}
		return p, interim.Header.AsyncID()
	}
	p, id := wait()
	if err := p.Cancel(id); err != nil {
		t.Fatal(err)
	}
	want(t, "cancelled", p.Done(), ntstatus.Cancelled)
	p, _ = wait()
	want(t, "unlock", f.Lock(smb2.LockElement{Length: 10, Flags: smb2.LockFlagUnlock}), ntstatus.Success)
	want(t, "granted", p.Done(), ntstatus.Success)
	lock.Offset = 5
	p, err := f.StartLock(lock)
	if err != nil {
		t.Fatal(err)
	}
	if _, final, err := p.Interim(); final || err != nil {
		t.Fatal("no interim response")
	}
	f.Close()
	want(t, "closed while it waits", p.Done(), ntstatus.RangeNotLocked)
}
