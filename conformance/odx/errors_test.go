package odx

import (
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// fault is one thing that is wrong with a request. A request with several is
// refused for the first of them in the specification's order.
type fault[M any] struct {
	name   string
	status ntstatus.Status
	apply  func(*M)
}

// readCase is an OFFLOAD_READ: a file of the stage, an input and room for the answer.
type readCase struct {
	file string
	in   fscc.OffloadReadInput
	cut  int
	room uint32
}

type writeCase struct {
	file string
	in   fscc.OffloadWriteInput
	cut  int
	room uint32
}

// The checks of [MS-FSA] 2.1.5.10.20 in its order. FSCTL codes name the access that a handle
// must have: that comes first.
var readFaults = []fault[readCase]{
	{"no read access", ntstatus.AccessDenied, func(c *readCase) { c.file = "blind" }},
	{"offload off", ntstatus.NotSupported, func(c *readCase) { c.file = "off" }},
	{"short input", ntstatus.BufferTooSmall, func(c *readCase) { c.cut = 1 }},
	{"short output", ntstatus.BufferTooSmall, func(c *readCase) { c.room = 527 }},
	{"odd offset", ntstatus.InvalidParameter, func(c *readCase) { c.in.FileOffset++ }},
	{"odd length", ntstatus.InvalidParameter, func(c *readCase) { c.in.CopyLength++ }},
	{"wrong size", ntstatus.InvalidParameter, func(c *readCase) { c.in.Size = 40 }},
	{"overflow", ntstatus.InvalidParameter, func(c *readCase) { c.in.FileOffset, c.in.CopyLength = ^uint64(511), 1024 }},
	{"nothing", ntstatus.Success, func(c *readCase) { c.in.CopyLength = 0 }},
	{"directory", ntstatus.OffloadReadFileNotSupported, func(c *readCase) { c.file = "dir" }},
	{"sparse", ntstatus.OffloadReadFileNotSupported, func(c *readCase) { c.file = "sparse" }},
	{"deleted", ntstatus.FileDeleted, func(c *readCase) { c.file = "deleted" }},
	{"locked", ntstatus.FileLockConflict, func(c *readCase) { c.file = "locked" }},
	{"past the end", ntstatus.EndOfFile, func(c *readCase) { c.in.FileOffset += 1 << 20 }},
}

// Those of 2.1.5.10.21.
var writeFaults = []fault[writeCase]{
	{"no write access", ntstatus.AccessDenied, func(c *writeCase) { c.file = "blind" }},
	{"offload off", ntstatus.NotSupported, func(c *writeCase) { c.file = "off" }},
	{"short input", ntstatus.BufferTooSmall, func(c *writeCase) { c.cut = 1 }},
	{"short output", ntstatus.BufferTooSmall, func(c *writeCase) { c.room = 15 }},
	{"odd offset", ntstatus.InvalidParameter, func(c *writeCase) { c.in.FileOffset++ }},
	{"odd length", ntstatus.InvalidParameter, func(c *writeCase) { c.in.CopyLength++ }},
	{"odd transfer offset", ntstatus.InvalidParameter, func(c *writeCase) { c.in.TransferOffset++ }},
	{"wrong size", ntstatus.InvalidParameter, func(c *writeCase) { c.in.Size = 512 }},
	{"overflow", ntstatus.InvalidParameter, func(c *writeCase) { c.in.FileOffset, c.in.CopyLength = ^uint64(511), 1024 }},
	{"nothing", ntstatus.Success, func(c *writeCase) { c.in.CopyLength = 0 }},
	{"directory", ntstatus.OffloadWriteFileNotSupported, func(c *writeCase) { c.file = "dir" }},
	{"sparse", ntstatus.OffloadWriteFileNotSupported, func(c *writeCase) { c.file = "sparse" }},
	{"deleted", ntstatus.FileDeleted, func(c *writeCase) { c.file = "deleted" }},
	{"beyond the largest file", ntstatus.InvalidParameter, func(c *writeCase) { c.in.CopyLength = 1 << 60 }},
	{"locked", ntstatus.FileLockConflict, func(c *writeCase) { c.file = "locked" }},
	{"past the end", ntstatus.EndOfFile, func(c *writeCase) { c.in.FileOffset += 1 << 20 }},
	{"past the valid data", ntstatus.BeyondVdl, func(c *writeCase) { c.file = "fresh"; c.in.FileOffset = 4096 }},
	{"no token", ntstatus.InvalidToken, func(c *writeCase) { c.in.Token[100] ^= 1 }},
	{"past the token", ntstatus.InvalidParameter, func(c *writeCase) { c.in.TransferOffset = 1 << 20 }},
}

// stage holds the files of the error tests.
type stage map[string]*client.File

func set(t *testing.T) (stage, [512]byte) {
	s := rig.Start(t, "--share", "vms", "--share", "off,no-odx", "--share", "ro,readonly,path=ro")
	tree := connect(t, s, "vms")
	st := stage{}
	st["plain"], _ = filled(t, tree, "plain", 1<<20, 1)
	must(t, open(t, tree, client.OpenDirectory("ro")).Close())
	filled(t, tree, `ro\file`, 1<<20, 1)
	off := connect(t, s, "off")
	st["off"] = file(t, off, "plain")
	m := client.OpenFile("plain")
	m.DesiredAccess = dtyp.FileReadAttributes
	st["blind"] = open(t, tree, m)
	m = client.OpenFile("file")
	m.DesiredAccess, m.CreateDisposition = dtyp.GenericRead, smb2.DispositionOpen
	st["read-only"] = open(t, connect(t, s, "ro"), m)
	st["dir"] = open(t, tree, client.OpenDirectory("dir"))
	st["sparse"], _ = filled(t, tree, "sparse", 1<<20, 2)
	_, err := st["sparse"].Ioctl(uint32(fscc.FsctlSetSparse), nil, 0)
	must(t, err)
	st["deleted"], _ = filled(t, tree, "deleted", 1<<20, 3)
	must(t, st["deleted"].SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{1}))
	st["locked"], _ = filled(t, tree, "locked", 1<<20, 4)
	other := file(t, tree, "locked")
	must(t, other.Lock(smb2.LockElement{Offset: 4096, Length: 4 << 20, Flags: smb2.LockFlagExclusiveLock}))
	st["fresh"] = file(t, tree, "fresh")
	must(t, Truncate(st["fresh"], 1<<20))
	return st, token(t, st["plain"], 0, 1<<20)
}

func (st stage) read(c *readCase) error {
	in := c.in.Append(nil)
	_, err := st[c.file].Ioctl(uint32(fscc.FsctlOffloadRead), in[:len(in)-c.cut], c.room)
	return err
}

func (st stage) write(c *writeCase) error {
	in := c.in.Append(nil)
	_, err := st[c.file].Ioctl(uint32(fscc.FsctlOffloadWrite), in[:len(in)-c.cut], c.room)
	return err
}

// Each fault alone, and each pair: the earlier one is what the client hears of.
func TestErrorsInOrder(t *testing.T) {
	st, tok := set(t)
	read := func() *readCase {
		return &readCase{"plain", fscc.OffloadReadInput{Size: 32, FileOffset: 0, CopyLength: 8192}, 0, 528}
	}
	for i, a := range readFaults {
		c := read()
		a.apply(c)
		want(t, "read, "+a.name, st.read(c), a.status)
		for _, b := range readFaults[i+1:] {
			c := read()
			b.apply(c)
			a.apply(c) // what both set, the earlier has
			if a.name == "nothing" && c.in.CopyLength == 0 || a.name != "nothing" {
				want(t, "read, "+a.name+" and "+b.name, st.read(c), a.status)
			}
		}
	}
	write := func() *writeCase {
		return &writeCase{"plain", fscc.OffloadWriteInput{Size: 544, FileOffset: 0, CopyLength: 8192, Token: tok}, 0, 16}
	}
	for i, a := range writeFaults {
		c := write()
		a.apply(c)
		want(t, "write, "+a.name, st.write(c), a.status)
		for _, b := range writeFaults[i+1:] {
			c := write()
			b.apply(c)
			a.apply(c)
			want(t, "write, "+a.name+" and "+b.name, st.write(c), a.status)
		}
	}
	// A read-only volume, seen from a handle that may write, is not to be had: the access of the
	// handle is refused first. What a snapshot shows is the other.
	c := write()
	c.file = "read-only"
	want(t, "write, read-only", st.write(c), ntstatus.AccessDenied)
	r := read()
	r.file = "read-only"
	want(t, "read, read-only", st.read(r), ntstatus.Success)
}

// What cannot be a FileId is answered by the SMB layer.
func TestClosedHandle(t *testing.T) {
	tree := connect(t, rig.Start(t, "--share", "vms"), "vms")
	f, _ := filled(t, tree, "f", 8192, 1)
	must(t, f.Close())
	_, err := Read(f, 0, 8192, 0)
	want(t, "read", err, ntstatus.FileClosed)
	_, err = Write(f, 0, 8192, 0, ZeroToken())
	want(t, "write", err, ntstatus.FileClosed)
}
