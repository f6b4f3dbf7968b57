package rsvd

import (
	"bytes"
	"testing"

	"gabion/protocol/ntstatus"
)

// A guest copies by token (ODX inside the guest): POPULATE TOKEN, RECEIVE ROD TOKEN
// INFORMATION, WRITE USING TOKEN, on one disk and from one to another.
func TestCopyByToken(t *testing.T) {
	a := newArray(t)
	from, to := a.disk("a.vhdx", 1), a.disk("s.vhds", 1)
	if r, err := from.SCSI([]byte{0x12, 1, 0x8F, 1, 0, 0}, nil, 256); err != nil || r.ScsiStatus != Good || len(r.Data) < 40 || be.Uint16(r.Data[14:]) == 0 {
		t.Fatalf("VPD page 8Fh: %v %#x % x", err, r.ScsiStatus, r.Data)
	}
	p := bytes.Repeat([]byte("0123456789abcdef"), 64<<10/16)
	for off := int64(0); off < 2<<20; off += int64(len(p)) {
		if _, err := from.WriteAt(p, off); err != nil {
			t.Fatal(err)
		}
	}
	token := populate(t, from, 7, blocks{0, 2048}, blocks{8192, 16})
	// The token stands for what was there.
	a.write(from, 0xEE, 0)
	if got := outcome(from.SCSI(writeToken(8, token, 1, blocks{100000, 2046}))); got != "good" {
		t.Fatalf("on the same disk: %s", got)
	}
	q := make([]byte, 64<<10)
	if _, err := from.ReadAt(q, 100000*512); err != nil || !bytes.Equal(q[:len(q)-512], p[:len(p)-512]) {
		t.Errorf("copied something else: %v", err)
	}
	// On another disk, more than there is: the rest is told.
	if got := outcome(to.SCSI(writeToken(9, token, 0, blocks{0, 4096}))); got != "good" {
		t.Fatalf("on another disk: %s", got)
	}
	status, count, _ := copyInfo(t, to, 9)
	if status != 0x03 || count != 2048+16 {
		t.Errorf("status %#x, %d blocks", status, count)
	}
	if _, err := to.ReadAt(q, 512<<10); err != nil || !bytes.Equal(q, p) {
		t.Errorf("copied something else to the other disk: %v", err)
	}
	// Zeros are a token everybody knows.
	zero := make([]byte, 512)
	be.PutUint32(zero, 0xFFFF0001)
	be.PutUint16(zero[6:], 504)
	if got := outcome(to.SCSI(writeToken(10, zero, 0, blocks{1024, 128}))); got != "good" {
		t.Fatalf("zeros: %s", got)
	}
	if _, err := to.ReadAt(q, 512<<10); err != nil || !bytes.Equal(q, make([]byte, len(q))) {
		t.Errorf("zeros are none: %v", err)
	}
	// Tokens are no use to who guesses them, nor after they are given up.
	guess := bytes.Clone(token)
	guess[150] ^= 1
	for what, c := range map[string]struct {
		token []byte
		want  string
	}{"guessed": {guess, "error 05/23/04"}, "malformed": {make([]byte, 512), "error 05/23/05"}} {
		if got := outcome(to.SCSI(writeToken(11, c.token, 0, blocks{0, 1}))); got != c.want {
			t.Errorf("%s: %s", what, got)
		}
	}
	cdb, list, _ := writeToken(12, token, 0, blocks{0, 1})
	list[2] = 2 // DEL_TKN
	if got := outcome(to.SCSI(cdb, list, 0)); got != "good" {
		t.Errorf("the last time: %s", got)
	}
	if got := outcome(to.SCSI(writeToken(13, token, 0, blocks{0, 1}))); got != "error 05/23/04" {
		t.Errorf("after it was deleted: %s", got)
	}
	for what, c := range map[string]blocks{"behind the end": {smallDisk / 512, 1}, "too much": {0, 128<<20/512 - 1}} {
		if got := outcome(from.SCSI(populateToken(1, c))); got != map[string]string{"behind the end": "error 05/21/00", "too much": "error 05/26/00"}[what] && got != "error 05/21/00" {
			t.Errorf("%s: %s", what, got)
		}
	}
	// A copy onto a reserved disk is a write.
	must(t, to.step(RegisterAndIgnore, 0, keyOne, Good))
	must(t, to.step(Reserve, keyOne, 0, Good))
	other := a.disk("s.vhds", 2)
	if got := outcome(other.SCSI(writeToken(14, zero, 0, blocks{0, 1}))); got != "conflict" {
		t.Errorf("under a reservation: %s", got)
	}
	_, err := other.WriteAt(sector(1), 0)
	a.is("write", err, ntstatus.SVHDXReservationConflict)
}

// blocks is a block device range.
type blocks struct {
	first uint64
	count uint32
}

func ranges(list []blocks) []byte {
	var b []byte
	for _, r := range list {
		b = be.AppendUint64(b, r.first)
		b = be.AppendUint32(b, r.count)
		b = append(b, 0, 0, 0, 0)
	}
	return b
}

func populateToken(id uint32, list ...blocks) (cdb, out []byte, in int) {
	d := ranges(list)
	out = append(make([]byte, 16), d...)
	be.PutUint16(out, uint16(len(out)-2))
	be.PutUint16(out[14:], uint16(len(d)))
	return thirdParty(0x10, id, len(out)), out, 0
}

func writeToken(id uint32, token []byte, offset uint64, list ...blocks) (cdb, out []byte, in int) {
	d := ranges(list)
	out = append(make([]byte, 536), d...)
	be.PutUint16(out, uint16(len(out)-2))
	be.PutUint64(out[8:], offset)
	copy(out[16:], token)
	be.PutUint16(out[534:], uint16(len(d)))
	return thirdParty(0x11, id, len(out)), out, 0
}

func thirdParty(service byte, id uint32, n int) []byte {
	cdb := make([]byte, 16)
	cdb[0], cdb[1] = 0x83, service
	be.PutUint32(cdb[6:], id)
	be.PutUint32(cdb[10:], uint32(n))
	return cdb
}

// copyInfo is RECEIVE ROD TOKEN INFORMATION.
func copyInfo(t *testing.T, d *Disk, id uint32) (status byte, count uint64, token []byte) {
	t.Helper()
	cdb := make([]byte, 16)
	cdb[0], cdb[1] = 0x84, 7
	be.PutUint32(cdb[2:], id)
	be.PutUint32(cdb[10:], 1024)
	r, err := d.SCSI(cdb, nil, 1024)
	if err != nil || r.ScsiStatus != Good || len(r.Data) < 36 {
		t.Fatalf("RECEIVE ROD TOKEN INFORMATION: %v %#x % x", err, r.ScsiStatus, r.Sense)
	}
	if len(r.Data) == 36+2+512 {
		token = r.Data[38:]
	}
	return r.Data[5], be.Uint64(r.Data[16:]), token
}

func populate(t *testing.T, d *Disk, id uint32, list ...blocks) []byte {
	t.Helper()
	if got := outcome(d.SCSI(populateToken(id, list...))); got != "good" {
		t.Fatalf("POPULATE TOKEN: %s", got)
	}
	status, count, token := copyInfo(t, d, id)
	var want uint64
	for _, r := range list {
		want += uint64(r.count)
	}
	if status != 1 || count != want || token == nil || be.Uint16(token[6:]) != 504 {
		t.Fatalf("status %#x, %d blocks, token %x", status, count, token)
	}
	return token
}
