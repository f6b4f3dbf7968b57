package odx

import (
	"encoding/binary"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/smb2"
)

// What Linux' cifs sends for `cp --reflink=always`: it looks at what the file system offers,
// opens the source to be read and the target to be written, each with a lease on all, sets the
// target's length, and duplicates the whole source at once, whose length is any.
func TestReflinkOfLinux(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	const size = 24<<20 + 777
	f, data := filled(t, tree, "disk", size, 1)
	must(t, f.Close())
	lease := func(name string, key byte, access dtyp.AccessMask, how smb2.CreateDisposition) *client.File {
		m := client.OpenFile(name)
		m.DesiredAccess, m.CreateDisposition = access, how
		all := smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching
		return open(t, tree, client.WithLease(m, smb2.Lease{V2: true, Key: smb2.LeaseKey{key}, State: all}))
	}
	for _, how := range []struct {
		name   string
		access dtyp.AccessMask
		new    smb2.CreateDisposition
	}{
		{"new", dtyp.GenericWrite, smb2.DispositionCreate},
		{"new", dtyp.GenericWrite, smb2.DispositionOverwrite},
		{"cached", dtyp.GenericWrite | dtyp.GenericRead, smb2.DispositionCreate},
	} {
		src := lease("disk", 1, dtyp.GenericRead, smb2.DispositionOpen)
		dst := lease(how.name, 2, how.access, how.new)
		for _, x := range []*client.File{src, dst} {
			if l, ok := x.Lease(); !ok || l.State&smb2.LeaseReadCaching == 0 {
				t.Errorf("lease %+v", l)
			}
		}
		b, err := src.QueryInfo(smb2.InfoFileSystem, uint8(fscc.FileFsAttributeInformation), 0, 1024)
		must(t, err)
		var fs fscc.FsAttributeInformation
		must(t, fs.Decode(b))
		if fs.FileSystemAttributes&fscc.FsSupportsBlockRefcounting == 0 {
			t.Fatal("cifs would not even try")
		}
		var before, after struct{ DataWritten, DataRead int64 }
		ask(t, s, &before, "volume", "stats")
		must(t, Truncate(dst, size))
		x := fscc.DuplicateExtentsData{ByteCount: size}
		binary.LittleEndian.PutUint64(x.SourceFileID[:], src.ID.Persistent)
		binary.LittleEndian.PutUint64(x.SourceFileID[8:], src.ID.Volatile)
		const room = 16384 // CIFSMaxBufSize
		_, err = dst.Ioctl(uint32(fscc.FsctlDuplicateExtentsToFile), x.Append(nil), room)
		must(t, err)
		ask(t, s, &after, "volume", "stats")
		if n := after.DataWritten - before.DataWritten; n > 1<<20 {
			t.Errorf("%d bytes of data were written", n)
		}
		out, err := dst.CloseWith(smb2.CloseFlagPostqueryAttrib)
		must(t, err)
		if out.EndOfFile != size {
			t.Errorf("it ends at %d", out.EndOfFile)
		}
		must(t, src.Close())
		g := file(t, tree, how.name)
		holds(t, how.name, g, data)
		must(t, g.Close())
	}
}
