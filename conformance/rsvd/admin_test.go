package rsvd

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
)

// command runs a verb and decodes what it prints as JSON.
func command(t *testing.T, s *rig.Server, into any, args ...string) {
	t.Helper()
	out, errs, err := s.Command(append(args, "--json")...)
	if err != nil {
		t.Fatalf("gabion %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
	if into != nil {
		if err := json.Unmarshal([]byte(out), into); err != nil {
			t.Fatalf("gabion %s: %v in %s", strings.Join(args, " "), err, out)
		}
	}
}

// refused runs a verb that must fail with a message.
func refused(t *testing.T, s *rig.Server, message string, args ...string) {
	t.Helper()
	if out, errs, err := s.Command(args...); err == nil || !strings.Contains(errs, message) {
		t.Errorf("gabion %s: %v\n%s%s", strings.Join(args, " "), err, out, errs)
	}
}

type diskDescription struct {
	Format, Type, Active, Parent string
	Size                         int64
	Shared                       bool
	DiskID                       string `json:"disk_id"`
}

func TestVHDCommands(t *testing.T) {
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	var i diskDescription
	command(t, r, nil, "vhd", "create", "disks/d.vhdx", "64M")
	command(t, r, nil, "vhd", "create", "disks/f.vhdx", "64M", "--fixed")
	command(t, r, nil, "vhd", "create", "disks/s.vhds", "64M")
	for name, want := range map[string]diskDescription{
		"d.vhdx": {Format: "vhdx", Type: "dynamic", Size: 64 << 20}, "f.vhdx": {Format: "vhdx", Type: "fixed", Size: 64 << 20},
		"s.vhds": {Format: "vhds", Type: "dynamic", Size: 64 << 20},
	} {
		command(t, r, &i, "vhd", "info", "disks/"+name)
		if i.Format != want.Format || i.Type != want.Type || i.Size != want.Size || i.Shared {
			t.Errorf("%s: %+v", name, i)
		}
	}
	d := a.disk("d.vhdx", 1)
	a.write(d, 9, 1<<20)
	command(t, r, &i, "vhd", "info", "disks/d.vhdx")
	if !i.Shared {
		t.Error("an open disk is not shared")
	}
	var checked struct {
		Clean bool
		What  string
	}
	if command(t, r, &checked, "vhd", "check", "disks/d.vhdx"); !checked.Clean {
		t.Errorf("check: %+v", checked)
	}
	refused(t, r, "in use", "vhd", "convert", "disks/d.vhdx", "disks/e.vhdx")
	must(t, d.Close())
	command(t, r, nil, "vhd", "convert", "disks/d.vhdx", "disks/e.vhdx", "--fixed")
	refused(t, r, "exists", "vhd", "convert", "disks/d.vhdx", "disks/e.vhdx", "--fixed")
	refused(t, r, "not found", "vhd", "info", "disks/none.vhdx")
	e := a.disk("e.vhdx", 1)
	a.holds(e, 1<<20, 9)
	a.holds(e, 0, 0)
	must(t, e.Close())
	// A disk becomes a set's and stays the one it was.
	d = a.disk("d.vhdx", 1)
	must(t, errOf(d.reserveOut(RegisterAndIgnore, 0, 0, keyOne, true)))
	must(t, errOf(d.reserveOut(Reserve, WriteExclusive, keyOne, 0, true)))
	name, err := d.Designator()
	must(t, err)
	must(t, d.Close())
	command(t, r, nil, "vhd", "convert", "disks/d.vhdx", "disks/c.vhds")
	refused(t, r, "not found", "vhd", "info", "disks/d.vhdx")
	c := a.disk("c.vhds", 2)
	if again, err := c.Designator(); err != nil || !bytes.Equal(name, again) {
		t.Errorf("the disk's name changed: %v", err)
	}
	_, err = c.WriteAt(sector(1), 0)
	a.is("write under the old reservation", err, ntstatus.SVHDXReservationConflict)
	must(t, a.Upload("broken.vhdx", append(dynamic(t, smallDisk)[:3<<20], bytes.Repeat([]byte{0xFF}, 1<<20)...)))
	if command(t, r, &checked, "vhd", "check", "disks/broken.vhdx"); checked.Clean || checked.What == "" {
		t.Errorf("a broken table is clean: %+v", checked)
	}
}

func errOf(r wire.SCSIResponse, err error) error {
	if err == nil && r.ScsiStatus != Good {
		return want("ScsiStatus", r.ScsiStatus, Good)
	}
	return err
}

type reservationRow struct {
	Disk, Type, Holder string
	Opens              int
	Persistent         bool
	Registrants        []struct{ Initiator, Host, Key string }
}

func TestReservationCommands(t *testing.T) {
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("a.vhdx", dynamic(t, smallDisk)))
	d := a.disk("a.vhdx", 1)
	other := a.disk("a.vhdx", 2)
	must(t, d.step(RegisterAndIgnore, 0, keyOne, Good))
	must(t, d.step(Reserve, keyOne, 0, Good))
	_, err := other.WriteAt(sector(1), 0)
	a.is("write by another", err, ntstatus.SVHDXReservationConflict)
	var rows []reservationRow
	command(t, r, &rows, "reservation", "list")
	if len(rows) != 1 || rows[0].Disk != "disks/a.vhdx" || rows[0].Opens != 2 || rows[0].Holder != initiator(1).String() ||
		len(rows[0].Registrants) != 1 || rows[0].Registrants[0].Key != "0x1111" || rows[0].Registrants[0].Host != "Client01" {
		t.Fatalf("%+v", rows)
	}
	text := metrics(t, r)
	for _, want := range []string{`gabion_shared_disk_reservation_conflicts_total{disk="a.vhdx"`, `gabion_shared_disk_registrations{disk="a.vhdx"`, `gabion_shared_disk_opens{disk="a.vhdx"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%s is missing", want)
		}
	}
	command(t, r, nil, "reservation", "clear", "disks/a.vhdx")
	if _, err := other.WriteAt(sector(1), 0); err != nil {
		t.Errorf("write after the reservations were cleared: %v", err)
	}
	if got := outcome(d.SCSI([]byte{0, 0, 0, 0, 0, 0}, nil, 0)); got != "UA 06/2A/03" {
		t.Errorf("the former holder hears %q", got)
	}
	// What asked to persist is listed without an open.
	must(t, errOf(d.reserveOut(RegisterAndIgnore, 0, 0, keyTwo, true)))
	must(t, d.Close())
	must(t, other.Close())
	command(t, r, &rows, "reservation", "list")
	if len(rows) != 1 || rows[0].Opens != 0 || !rows[0].Persistent || len(rows[0].Registrants) != 1 {
		t.Errorf("%+v", rows)
	}
	command(t, r, nil, "reservation", "clear", "disks/a.vhdx")
	if command(t, r, &rows, "reservation", "list"); len(rows) != 0 {
		t.Errorf("%+v", rows)
	}
}

// metrics are what the server tells Prometheus.
func metrics(t *testing.T, s *rig.Server) string {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", filepath.Join(s.Data, "admin.sock"))
	}}}
	resp, err := c.Get("http://gabion/metrics")
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	return string(b)
}

// A reservation belongs to one container: its clones, copies, snapshots and restored
// contents are other disks, or the same one, whatever Virtual Disk ID they hold inside.
func TestIdentityOfACopy(t *testing.T) {
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("a.vhdx", dynamic(t, smallDisk)))
	d := a.disk("a.vhdx", 1)
	a.write(d, 5, 0)
	must(t, errOf(d.reserveOut(RegisterAndIgnore, 0, 0, keyOne, true)))
	must(t, errOf(d.reserveOut(Reserve, ExclusiveAccess, keyOne, 0, true)))
	var before wire.DiskInfoResponse
	must(t, d.Ask(wire.GetDiskInfo, &before, raw(make([]byte, 56))))
	name, err := d.Designator()
	must(t, err)
	command(t, r, nil, "snapshot", "create", "disks/a.vhdx", "s1")
	must(t, d.Close())

	clone := a.clone("a.vhdx", "b.vhdx")
	must(t, clone.Close())
	c := a.disk("b.vhdx", 2)
	a.holds(c, 0, 5)
	a.write(c, 6, 0)
	var after wire.DiskInfoResponse
	must(t, c.Ask(wire.GetDiskInfo, &after, raw(make([]byte, 56))))
	if after.VirtualDiskID != before.VirtualDiskID {
		t.Error("the clone's Virtual Disk ID is another: this test proves nothing")
	}
	if n, err := c.Designator(); err != nil || bytes.Equal(n, name) {
		t.Errorf("the clone has the name of its origin, %v", err)
	}
	if _, keys, err := c.Keys(); err != nil || len(keys) != 0 {
		t.Errorf("the clone has registrations %x, %v", keys, err)
	}
	must(t, errOf(c.ReserveOut(RegisterAndIgnore, 0, 0, keyTwo)))
	must(t, errOf(c.ReserveOut(Reserve, WriteExclusive, keyTwo, 0)))

	// Renamed and restored, the origin is what it was.
	m := client.OpenFile("a.vhdx")
	m.CreateDisposition = smb2.DispositionOpen
	f, err := a.Tree.Create(m)
	must(t, err)
	must(t, f.SetInfo(smb2.InfoFile, uint8(fscc.FileRenameInformation), 0, renameTo("z.vhdx")))
	must(t, f.Close())
	d = a.disk("z.vhdx", 2)
	if again, err := d.Designator(); err != nil || !bytes.Equal(name, again) {
		t.Errorf("the renamed disk has another name, %v", err)
	}
	_, err = d.ReadAt(make([]byte, sectorSize), 0)
	a.is("read by another", err, ntstatus.SVHDXReservationConflict)
	must(t, d.Close())
	command(t, r, nil, "restore", "disks/z.vhdx", "s1")
	d = a.disk("z.vhdx", 2)
	if _, key, kind, err := d.Reservation(); err != nil || key != keyOne || kind != ExclusiveAccess {
		t.Errorf("after the restore: key %x, type %d, %v", key, kind, err)
	}
}

// clone makes a file of the same extents.
func (a *array) clone(from, to string) *client.File {
	a.Helper()
	src, err := a.file(from, dtyp.FileReadData, smb2.ShareAll)
	must(a.T, err)
	defer src.Close()
	m := client.OpenFile(to)
	m.CreateDisposition = smb2.DispositionCreate
	dst, err := a.Tree.Create(m)
	must(a.T, err)
	size := int64(src.Response.EndOfFile)
	must(a.T, dst.SetInfo(smb2.InfoFile, uint8(fscc.FileEndOfFileInformation), 0, leInt64(size)))
	id := append(leInt64(int64(src.ID.Persistent)), leInt64(int64(src.ID.Volatile))...)
	in := append(id, leInt64(0)...)
	in = append(in, leInt64(0)...)
	in = append(in, leInt64(size)...)
	_, err = dst.Ioctl(uint32(fscc.FsctlDuplicateExtentsToFile), in, 0)
	must(a.T, err)
	return dst
}

func leInt64(n int64) []byte {
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return b
}

// renameTo is FILE_RENAME_INFORMATION.
func renameTo(name string) []byte {
	u := dtyp.EncodeUTF16(name)
	b := make([]byte, 20, 20+len(u))
	b[16] = byte(len(u))
	return append(b, u...)
}
