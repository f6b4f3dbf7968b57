package server_test

import (
	"fmt"
	"slices"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// names lists what a query returns.
func names(t *testing.T, f *client.File, class fscc.FileInformationClass, flags smb2.QueryDirectoryFlags, pattern string, max uint32) ([]string, error) {
	t.Helper()
	b, err := f.QueryDirectory(uint8(class), flags, pattern, max)
	if err != nil {
		return nil, err
	}
	if len(b) > int(max) {
		t.Fatalf("%d bytes for a buffer of %d", len(b), max)
	}
	var list []string
	err = fscc.DecodeDirectory(class, b, func(e *fscc.DirectoryEntry) error { list = append(list, e.Name); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return list, nil
}

var directoryClasses = []fscc.FileInformationClass{
	fscc.FileDirectoryInformation, fscc.FileFullDirectoryInformation, fscc.FileBothDirectoryInformation,
	fscc.FileIDBothDirectoryInformation, fscc.FileIDFullDirectoryInformation, fscc.FileNamesInformation,
	fscc.FileIDExtdDirectoryInformation, fscc.FileID64ExtdDirectoryInformation, fscc.FileID64ExtdBothDirectoryInformation,
	fscc.FileIDAllExtdDirectoryInformation, fscc.FileIDAllExtdBothDirectoryInformation,
}

// A listing is complete in every class and however small the replies are.
func TestListingResumes(t *testing.T) {
	tree := vms(t)
	open(t, tree, client.OpenDirectory("dir"))
	all := []string{".", ".."}
	for i := range 50 {
		name := fmt.Sprintf("file %02d with a name of some length", i)
		open(t, tree, client.OpenFile(`dir\`+name)).Close()
		all = append(all, name)
	}
	for _, class := range directoryClasses {
		for _, max := range []uint32{300, 1000, 1 << 16} {
			dir := open(t, tree, client.OpenDirectory("dir"))
			var got []string
			for {
				some, err := names(t, dir, class, 0, "*", max)
				if err != nil {
					want(t, "the end", err, ntstatus.NoMoreFiles)
					break
				}
				got = append(got, some...)
			}
			if !slices.Equal(got, all) {
				t.Errorf("%v in replies of %d: %d names, want %d", class, max, len(got), len(all))
			}
			dir.Close()
		}
	}
}

func TestListingFlags(t *testing.T) {
	tree := vms(t)
	dir := open(t, tree, client.OpenDirectory("dir"))
	for _, name := range []string{"a.txt", "b.txt", "c.vhdx"} {
		open(t, tree, client.OpenFile(`dir\`+name)).Close()
	}
	for _, tt := range []struct {
		name    string
		flags   smb2.QueryDirectoryFlags
		pattern string
		status  ntstatus.Status
		list    []string
	}{
		{"a pattern", 0, "*.txt", ntstatus.Success, []string{"a.txt", "b.txt"}},
		{"the end", 0, "*.txt", ntstatus.NoMoreFiles, nil},
		{"restarted, one", smb2.QueryDirectoryRestartScans | smb2.QueryDirectoryReturnSingleEntry, "*.txt", ntstatus.Success, []string{"a.txt"}},
		{"the next", smb2.QueryDirectoryReturnSingleEntry, "*.txt", ntstatus.Success, []string{"b.txt"}},
		{"a new pattern", smb2.QueryDirectoryReopen, "C.VHDX", ntstatus.Success, []string{"c.vhdx"}},
		{"nothing like it", smb2.QueryDirectoryReopen, "*.iso", ntstatus.NoSuchFile, nil},
	} {
		got, err := names(t, dir, fscc.FileIDBothDirectoryInformation, tt.flags, tt.pattern, 1<<16)
		want(t, tt.name, err, tt.status)
		if !slices.Equal(got, tt.list) {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.list)
		}
	}
}

func TestListingRefusals(t *testing.T) {
	tree := vms(t)
	dir, file := open(t, tree, client.OpenDirectory("dir")), open(t, tree, client.OpenFile("file"))
	m := client.OpenDirectory("dir")
	m.DesiredAccess = dtyp.FileReadAttributes
	blind := open(t, tree, m)
	class := uint8(fscc.FileIDBothDirectoryInformation)
	for _, tt := range []struct {
		name   string
		file   *client.File
		class  uint8
		flags  smb2.QueryDirectoryFlags
		max    uint32
		status ntstatus.Status
	}{
		{"of a file", file, class, 0, 1000, ntstatus.InvalidParameter},
		{"of a file, reopened", file, class, smb2.QueryDirectoryReopen, 1000, ntstatus.NotSupported},
		{"without the right", blind, class, 0, 1000, ntstatus.AccessDenied},
		{"a class for files", dir, uint8(fscc.FileBasicInformation), 0, 1000, ntstatus.InvalidInfoClass},
		{"too little for the fixed part", dir, class, 0, 103, ntstatus.InfoLengthMismatch},
		{"too little for a name", dir, class, 0, 104, ntstatus.InfoLengthMismatch},
		{"too much", dir, class, 0, 8<<20 + 1, ntstatus.InvalidParameter},
	} {
		_, err := tt.file.QueryDirectory(tt.class, tt.flags, "*", tt.max)
		want(t, tt.name, err, tt.status)
	}
}

func TestChangeNotify(t *testing.T) {
	tree := vms(t)
	dir, file := open(t, tree, client.OpenDirectory("dir")), open(t, tree, client.OpenFile("file"))
	refused := func(f *client.File) error {
		p, err := f.Notify(smb2.NotifyAll, false, 1000)
		if err != nil {
			t.Fatal(err)
		}
		return p.Done()
	}
	want(t, "of a file", refused(file), ntstatus.InvalidParameter)
	watch := func(max uint32) *client.Pending {
		p, err := dir.Notify(smb2.NotifyFileName, false, max)
		if err != nil {
			t.Fatal(err)
		}
		if _, final, err := p.Interim(); final || err != nil {
			t.Fatal("no interim response", err)
		}
		return p
	}
	p := watch(1000)
	open(t, tree, client.OpenFile(`dir\new`)).Close()
	b, err := p.Changes()
	if err != nil {
		t.Fatal(err)
	}
	list, err := fscc.DecodeNotify(b)
	if err != nil || len(list) != 1 || list[0] != (fscc.NotifyEntry{Action: fscc.ActionAdded, FileName: "new"}) {
		t.Errorf("%v %v", list, err)
	}
	p = watch(1000)
	dir.Close()
	want(t, "closed", p.Done(), ntstatus.NotifyCleanup)
}
