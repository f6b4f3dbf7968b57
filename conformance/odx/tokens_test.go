package odx

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// patience bounds waiting for something that must happen.
const patience = 60 * time.Second

// A token outlives its handle, its source's contents, the source, the session and the
// server, and is good for any target that its holder may write.
func TestTokenOutlivesItsSource(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "source", 3<<20, 1)
	tok := token(t, f, 0, 3<<20)
	write(t, f, random(2, 3<<20), 0)
	must(t, Truncate(f, 100))
	must(t, f.SetInfo(smb2.InfoFile, uint8(fscc.FileDispositionInformation), 0, []byte{1}))
	must(t, f.Close())
	g := file(t, tree, "target")
	must(t, Truncate(g, 3<<20))
	n, err := Write(g, 0, 3<<20, 0, tok)
	if must(t, err); n != 3<<20 {
		t.Errorf("wrote %d", n)
	}
	holds(t, "after the source went", g, data)
	must(t, s.Stop())
	must(t, s.Run())
	tree = connect(t, s, "vms")
	g = file(t, tree, "after")
	must(t, Truncate(g, 2<<20))
	// A part of it, to another place, which lies differently in its blocks.
	write(t, g, make([]byte, 512), 0)
	n, err = Write(g, 512, 1<<20, 1<<20, tok)
	for done := n; err == nil && done < 1<<20; done += n {
		n, err = Write(g, 512+done, 1<<20-done, 1<<20+done, tok)
	}
	must(t, err)
	holds(t, "after a restart", g, append(make([]byte, 512), data[1<<20:2<<20]...))
	s.Kill()
	must(t, s.Run())
	g = file(t, connect(t, s, "vms"), "killed")
	must(t, Truncate(g, 3<<20))
	_, err = Write(g, 0, 3<<20, 0, tok)
	must(t, err)
	holds(t, "after a kill", g, data)
}

// Whoever holds a token and may write the target: another user, in another session.
func TestBearer(t *testing.T) {
	s := rig.Start(t)
	pw := filepath.Join(t.TempDir(), "pw")
	must(t, os.WriteFile(pw, []byte("Secret-of-bob-1\n"), 0o600))
	ask(t, s, nil, "user", "add", "bob", "--password-file", pw)
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "source", 1<<20, 1)
	m := client.OpenFile("source")
	m.DesiredAccess = 0x00100080 // attributes only
	blind := open(t, tree, m)
	_, err := Read(blind, 0, 1<<20, 0)
	want(t, "OFFLOAD_READ without read access", err, ntstatus.AccessDenied)
	tok := token(t, f, 0, 1<<20)
	c, err := client.Dial(s.Addr, client.Options{})
	must(t, err)
	t.Cleanup(func() { c.Close() })
	must(t, c.Negotiate(client.Negotiation{}))
	session, err := c.Login(client.Credentials{User: "bob", Password: "Secret-of-bob-1"})
	must(t, err)
	his, err := session.Connect("vms")
	must(t, err)
	g := file(t, his, "target")
	must(t, Truncate(g, 1<<20))
	_, err = Write(g, 0, 1<<20, 0, tok)
	must(t, err)
	holds(t, "another user's copy", g, data)
	// Issuer, user and files are in the audit; nothing of the token is anywhere.
	audit, err := os.ReadFile(filepath.Join(s.Data, "audit.log"))
	must(t, err)
	for _, line := range []string{`"what":"issued"`, `"source":"vms\\source"`, `"what":"used"`, `"target":"vms\\target"`, `rig"`, `bob"`} {
		if !strings.Contains(string(audit), line) {
			t.Errorf("the audit has no %s:\n%s", line, audit)
		}
	}
	secret := fmt.Sprintf("%x", tok[8+36:8+52])
	for name, text := range map[string]string{"audit": string(audit), "log": s.Stderr()} {
		if strings.Contains(text, secret) || strings.Contains(text, string(tok[8+36:8+52])) {
			t.Errorf("the token is in the %s", name)
		}
	}
}

// What must not be honoured, all alike.
func TestInvalidTokens(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	f, _ := filled(t, tree, "source", 1<<20, 1)
	g, before := filled(t, tree, "target", 1<<20, 2)
	good := token(t, f, 0, 1<<20)
	refused := func(what string, tok [512]byte) {
		t.Helper()
		_, err := Write(g, 0, 1<<20, 0, tok)
		want(t, what, err, ntstatus.InvalidToken)
		holds(t, what, g, before)
	}
	refused("none", [512]byte{})
	forged := good
	copy(forged[8+36:], random(3, 16))
	refused("another's number", forged)
	forged = good
	forged[8+60] ^= 0x80
	refused("forged", forged)
	longer := good
	longer[8+52+3]++
	refused("longer than it was", longer)
	cut := good
	clear(cut[8+60:])
	refused("truncated", cut)
	cut = good
	cut[7] = 20
	refused("of another length", cut)
	reserved := good
	copy(reserved[:], []byte{0xFF, 0xFF, 0x00, 0x02})
	refused("of a reserved type", reserved)

	other := rig.Start(t)
	foreign, _ := filled(t, connect(t, other, "vms"), "source", 1<<20, 1)
	refused("of a foreign array", token(t, foreign, 0, 1<<20))

	out, err := Read(f, 0, 1<<20, 1000)
	must(t, err)
	await(t, "expiry", func() bool {
		var list []struct{ ID string }
		ask(t, s, &list, "offload", "list")
		return len(list) == 1
	})
	refused("expired", out.Token)

	var list []struct{ ID, File, User string }
	ask(t, s, &list, "offload", "list")
	if len(list) != 1 || list[0].File != `vms\source` {
		t.Fatalf("tokens: %+v", list)
	}
	ask(t, s, nil, "offload", "revoke", list[0].ID)
	refused("revoked", good)
	good = token(t, f, 0, 1<<20)
	ask(t, s, nil, "offload", "revoke", "all")
	refused("revoked with all others", good)
}

func await(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			t.Fatalf("no %s", what)
		}
	}
}

// Writes never see a full disk because of tokens: the oldest go.
func TestEviction(t *testing.T) {
	s := rig.Start(t, "--capacity", "1GiB", "--share", "vms")
	tree := connect(t, s, "vms")
	const size = 128 << 20
	f := file(t, tree, "source")
	var toks [][512]byte
	for i := range 10 {
		p := random(uint64(i), 1<<20)
		for off := int64(0); off < size; off += 1 << 20 {
			p[0], p[4096] = byte(off>>20), byte(i)
			write(t, f, p, off)
		}
		toks = append(toks, token(t, f, 0, size))
	}
	g := file(t, tree, "target")
	must(t, Truncate(g, size))
	_, err := Write(g, 0, size, 0, toks[0])
	want(t, "the oldest of tokens that hold more than there is", err, ntstatus.InvalidToken)
	_, err = Write(g, 0, size, 0, toks[len(toks)-1])
	must(t, err)
	holds(t, "the newest", g, contents(t, f, 0, 2<<20))
}

// The zero token needs nobody's leave, never dies, and costs no space.
func TestZeros(t *testing.T) {
	s := rig.Start(t, "--share", "vms")
	tree := connect(t, s, "vms")
	f, data := filled(t, tree, "f", 1<<20, 1)
	n, err := Write(f, 512, 64<<10, 12345*512, ZeroToken())
	if must(t, err); n != 64<<10 {
		t.Errorf("zeroed %d", n)
	}
	clear(data[512 : 512+64<<10])
	holds(t, "zeroed", f, data)
	// A file's tail of zeros is the zero token's; what follows data is marked.
	must(t, Truncate(f, 8<<20))
	out, err := Read(f, 4<<20, 1<<20, 0)
	must(t, err)
	if out.Token != ZeroToken() || out.Flags != fscc.OffloadReadAllZeroBeyondCurrentRange || out.TransferLength != 1<<20 {
		t.Errorf("beyond the data: flags %d, %d bytes", out.Flags, out.TransferLength)
	}
	out, err = Read(f, 0, 8<<20, 0)
	must(t, err)
	if out.Flags != fscc.OffloadReadAllZeroBeyondCurrentRange || out.TransferLength != 1<<20 {
		t.Errorf("with the data: flags %d, %d bytes", out.Flags, out.TransferLength)
	}
	// A hole before data.
	write(t, f, []byte("end"), 8<<20-3)
	out, err = Read(f, 4<<20, 1<<20, 0)
	must(t, err)
	if out.Token != ZeroToken() || out.Flags != 0 || out.TransferLength != 1<<20 {
		t.Errorf("hole before data: flags %d, %d bytes", out.Flags, out.TransferLength)
	}
	// Lengths that are no whole sectors: the last sector's rest is zeros and is not written.
	must(t, Truncate(f, 1000))
	out, err = Read(f, 0, 4096, 0)
	must(t, err)
	if out.TransferLength != 1024 {
		t.Errorf("1000 bytes: a token for %d", out.TransferLength)
	}
	g, _ := filled(t, tree, "g", 1500, 2)
	must(t, Truncate(g, 1000))
	n, err = Write(g, 0, 1024, 0, out.Token)
	if must(t, err); n != 1024 {
		t.Errorf("wrote %d", n)
	}
	if got := contents(t, g, 0, 1000); !bytes.Equal(got, data[:1000]) {
		t.Error("a file of odd length is copied wrongly")
	}
	if _, err := g.ReadAt(make([]byte, 10), 1000); err == nil {
		t.Error("the copy is longer than its source")
	}
}

// A disk is zeroed piece by piece, also over data, and goes on where it was after a kill: what
// was answered for is zeros and stays so, and the rest of the disk is valid.
func TestZerosByPieces(t *testing.T) {
	s := rig.Start(t)
	tree := connect(t, s, "vms")
	const size, piece, data = 1 << 30, 64 << 20, 80 << 20
	f, _ := filled(t, tree, "disk", data, 1)
	must(t, f.Flush())
	must(t, Truncate(f, size))
	for off := uint64(0); off < size; off += piece {
		n, err := Write(f, off, piece, 0, ZeroToken())
		if must(t, err); n != piece {
			t.Fatalf("zeroed %d at %d", n, off)
		}
		if off == 0 || off == 2*piece {
			s.Kill()
			must(t, s.Run())
			tree = connect(t, s, "vms")
			f = file(t, tree, "disk")
			holds(t, "zeroed", f, make([]byte, min(off+piece, data)))
		}
	}
	out, err := Read(f, 0, size, 0)
	must(t, err)
	if out.Token != ZeroToken() || out.TransferLength != size {
		t.Errorf("what was zeroed holds data, %d bytes of a token", out.TransferLength)
	}
	must(t, s.Stop())
	if out, stderr, err := s.Command("check"); err != nil {
		t.Errorf("check: %v\n%s%s", err, out, stderr)
	}
}
