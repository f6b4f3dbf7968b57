package peers

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

var gmt = regexp.MustCompile(`@GMT-\d{4}\.\d\d\.\d\d-\d\d\.\d\d\.\d\d`)

// Previous versions as smbclient shows and fetches them: of a file those that differ, of
// whatever was snapshotted, one a second.
func TestPreviousVersions(t *testing.T) {
	rig.Need(t, "smbclient")
	s := rig.Start(t)
	c := &smbclient{t: t, s: s, protection: "sign", dir: t.TempDir()}
	admin := func(args ...string) {
		t.Helper()
		if _, stderr, err := s.Command(args...); err != nil {
			t.Fatalf("gabion %v: %v\n%s", args, err, stderr)
		}
	}
	put := func(path, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(c.dir, "local"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		c.run(`put local ` + path)
	}
	versions := func(path string) []string {
		t.Helper()
		out := c.run(`allinfo ` + path)
		return slices.Compact(gmt.FindAllString(out, -1))
	}
	get := func(path string) string {
		t.Helper()
		c.run(`get "` + path + `" got`)
		b, err := os.ReadFile(filepath.Join(c.dir, "got"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	c.run("mkdir d")
	put(`d\f`, "one")
	put(`d\same`, "same")
	admin("snapshot", "create", "vms", "a")
	put(`d\f`, "two")
	admin("snapshot", "create", "vms/d", "b")
	admin("snapshot", "create", "vms", "b-again")
	put(`d\f`, "three")
	admin("snapshot", "create", "vms/d/f", "c")
	put(`d\f`, "four")
	c.run(`del d\same`)

	list := versions(`d\f`)
	if len(list) != 3 {
		t.Fatalf("three versions differ: %v", list)
	}
	for i, want := range []string{"three", "two", "one"} { // newest first
		if got := get(list[i] + `\d\f`); got != want {
			t.Errorf("%s: %q, want %q", list[i], got, want)
		}
	}
	if got := get(`d\f`); got != "four" {
		t.Errorf("now: %q", got)
	}
	// The folder as it was, and the share's root.
	all := versions(`d`)
	if len(all) != 3 {
		t.Errorf("versions of the folder: %v", all)
	}
	for _, tt := range []struct{ path, has string }{{all[len(all)-1] + `\d`, "same"}, {all[len(all)-1], "d"}} {
		if out := c.run(`ls "` + tt.path + `\*"`); !strings.Contains(out, tt.has) {
			t.Errorf("ls %s:\n%s", tt.path, out)
		}
	}
	if got := get(all[len(all)-1] + `\d\same`); got != "same" {
		t.Errorf("what was deleted: %q", got)
	}
	for command, status := range map[string]string{
		`put local ` + list[0] + `\d\f`:          "NT_STATUS_MEDIA_WRITE_PROTECTED",
		`del ` + list[2] + `\d\f`:                "NT_STATUS_CANNOT_DELETE",
		`mkdir ` + list[0] + `\d\new`:            "NT_STATUS_MEDIA_WRITE_PROTECTED",
		`get @GMT-2001.01.01-00.00.00\d\f x`:     "NT_STATUS_OBJECT_NAME_NOT_FOUND",
		`get ` + list[0] + `\d\none x`:           "NT_STATUS_OBJECT_NAME_NOT_FOUND",
		`rename ` + list[0] + `\d\f d\elsewhere`: "NT_STATUS_",
	} {
		if out, _ := c.try(command); !strings.Contains(out, status) {
			t.Errorf("%s: no %s in\n%s", command, status, out)
		}
	}
	enumerate(t, s, `d\f`, list)
	restoreByDuplicate(t, s, list[2]+`\d\f`)
	for _, path := range []string{`d\copy`, `d\f`} {
		if got := get(path); got != "one" {
			t.Errorf("%s restored: %q", path, got)
		}
	}
}

// connect opens a session of our own client on the share.
func connect(t *testing.T, s *rig.Server) *client.Tree {
	t.Helper()
	conn, err := client.Dial(s.Addr, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.Negotiate(client.Negotiation{}); err != nil {
		t.Fatal(err)
	}
	session, err := conn.Login(client.Credentials{User: rig.User, Password: rig.Password})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := session.Connect("vms")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

// restoreByDuplicate copies an old version to a live file as Explorer's "Restore" does where blocks
// can be shared.
func restoreByDuplicate(t *testing.T, s *rig.Server, old string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tree := connect(t, s)
	read := client.OpenFile(old)
	read.DesiredAccess, read.CreateDisposition = 0x00120089, smb2.DispositionOpen
	src, err := tree.Create(read)
	must(err)
	write := client.OpenFile(old)
	write.DesiredAccess, write.CreateDisposition = 0x00120116, smb2.DispositionOpen
	if f, err := tree.Create(write); err == nil { // Windows lets it be opened, and refuses each change
		_, err = f.WriteAt([]byte("x"), 0)
		if st, _ := client.Status(err); st != ntstatus.MediaWriteProtected {
			t.Errorf("writing to an old version: %v", err)
		}
		must(f.Close())
	} else {
		t.Errorf("opening an old version: %v", err)
	}
	dst, err := tree.Create(client.OpenFile(`d\copy`))
	must(err)
	p := make([]byte, 100)
	n, err := src.ReadAt(p, 0)
	if err != io.EOF {
		must(err)
	}
	if !bytes.Equal(p[:n], []byte("one")) {
		t.Errorf("read %q", p[:n])
	}
	must(dst.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, (&fscc.EndOfFileInformation{EndOfFile: 3}).Append(nil)))
	x := fscc.DuplicateExtentsData{ByteCount: 4096}
	binary.LittleEndian.PutUint64(x.SourceFileID[:], src.ID.Persistent)
	binary.LittleEndian.PutUint64(x.SourceFileID[8:], src.ID.Volatile)
	_, err = dst.Ioctl(uint32(fscc.FsctlDuplicateExtentsToFile), x.Append(nil), 0)
	must(err)
	must(dst.Close())
	// And onto the live file itself.
	now, err := tree.Create(client.OpenFile(`d\f`))
	must(err)
	must(now.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, (&fscc.EndOfFileInformation{EndOfFile: 3}).Append(nil)))
	_, err = now.Ioctl(uint32(fscc.FsctlDuplicateExtentsToFile), x.Append(nil), 0)
	must(err)
	must(now.Close())
	must(src.Close())
}

// enumerate asks for the versions of a file as a kernel's client and smbinfo list-snapshots do: first how many there
// are and how much room they take, then with that room ([MS-SMB2] 2.2.32.2, 3.3.5.15.1). smbinfo
// takes each 50 bytes from an @ on for a time, and prints it also in units of 100 nanoseconds since 1601, for
// a mount that asks for a version by timewarp.
func enumerate(t *testing.T, s *rig.Server, path string, want []string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	tree := connect(t, s)
	open := client.OpenFile(path)
	open.DesiredAccess, open.CreateDisposition = 0x00120089, smb2.DispositionOpen
	f, err := tree.Create(open)
	must(err)
	le := binary.LittleEndian
	b, err := f.Ioctl(uint32(fscc.FsctlSrvEnumerateSnapshots), nil, 16)
	must(err)
	size := int(le.Uint32(b[8:]))
	if n := int(le.Uint32(b)); n != len(want) || le.Uint32(b[4:]) != 0 || size < 50*n || size > 50*n+2 {
		t.Fatalf("without room: %x", b)
	}
	b, err = f.Ioctl(uint32(fscc.FsctlSrvEnumerateSnapshots), nil, uint32(12+size))
	must(err)
	if le.Uint32(b) != uint32(len(want)) || le.Uint32(b[4:]) != uint32(len(want)) || int(le.Uint32(b[8:])) != size || len(b) != 12+size {
		t.Fatalf("with room: %x", b)
	}
	for i, token := range want {
		text := b[12+50*i:][:50]
		if got := dtyp.DecodeUTF16(text[:48]); got != token || text[48] != 0 || text[49] != 0 {
			t.Errorf("token %d is %q %x, want %q", i, got, text[48:], token)
		}
		at, err := time.Parse("@GMT-2006.01.02-15.04.05", token)
		must(err)
		old, err := tree.Create(client.WithContext(open, smb2.ContextTimewarp, &smb2.Timewarp{Timestamp: dtyp.FiletimeOf(at)}))
		if err != nil {
			t.Errorf("opened by timewarp at %s: %v", token, err)
			continue
		}
		must(old.Close())
	}
	must(f.Close())
}
