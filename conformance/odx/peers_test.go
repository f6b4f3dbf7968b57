package odx

import (
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/ntstatus"
)

type identity struct{ Fingerprint, Listen string }

// pair starts two arrays that trust each other; the second may fetch from the first.
func pair(t testing.TB, args ...string) (a, b *rig.Server) {
	t.Helper()
	a = rig.Start(t, append(args, "--peer-listen", "127.0.0.1:0")...)
	b = rig.Start(t, args...)
	var ia, ib identity
	ask(t, a, &ia, "peer", "identity")
	ask(t, b, &ib, "peer", "identity")
	ask(t, a, nil, "peer", "add", "b", ib.Fingerprint)
	ask(t, b, nil, "peer", "add", "a", ia.Fingerprint, "--address", ia.Listen)
	return a, b
}

// A file goes from one array to the other without passing through the client: its holes
// stay holes.
func TestBetweenArrays(t *testing.T) {
	a, b := pair(t)
	from, to := connect(t, a, "vms"), connect(t, b, "vms")
	f, data := filled(t, from, "source", 20<<20, 1)
	const size = 1<<30 + 777
	must(t, Truncate(f, size))
	write(t, f, []byte("the end"), size-7)
	g := file(t, to, "target")
	e := &Engine{Chunk: 256 << 20}
	r, err := e.Copy(f, g, size)
	must(t, err)
	if r.Refused != nil || r.Copied != 0 || r.Offloaded < 20<<20 {
		t.Errorf("the copy went %+v", r)
	}
	holds(t, "between arrays", g, data)
	if got := string(contents(t, g, size-7, 7)); got != "the end" {
		t.Errorf("it ends with %q", got)
	}
	var stats struct{ DataWritten int64 }
	ask(t, b, &stats, "volume", "stats")
	if stats.DataWritten > 24<<20 {
		t.Errorf("%d bytes were written for 20 MiB in 1 GiB", stats.DataWritten)
	}
}

// When the array that holds the data cannot be reached, or knows the token no more, clients
// copy by themselves, and the copy is right.
func TestPeerGone(t *testing.T) {
	a, b := pair(t)
	from, to := connect(t, a, "vms"), connect(t, b, "vms")
	f, data := filled(t, from, "source", 8<<20, 1)
	tok := token(t, f, 0, 8<<20)
	g := file(t, to, "target")
	must(t, Truncate(g, 8<<20))
	ask(t, a, nil, "offload", "revoke", "all")
	_, err := Write(g, 0, 8<<20, 0, tok)
	want(t, "revoked there", err, ntstatus.InvalidToken)

	e := &Engine{Chunk: 1 << 20, Between: nil}
	steps := 0
	e.Between = func() {
		if steps++; steps == 4 {
			ask(t, a, nil, "peer", "remove", "b")
		}
	}
	r, err := e.Copy(f, g, 8<<20)
	must(t, err)
	if r.Refused != ntstatus.DeviceUnreachable || r.Deny || r.Apart || r.Offloaded == 0 || r.Copied == 0 || r.Offloaded+r.Copied != 8<<20 {
		t.Errorf("the copy went %+v", r)
	}
	holds(t, "fallen back", g, data)
	if !strings.Contains(b.Stderr(), "transfer from an array broke off") {
		t.Error("the operator is not told")
	}

	tok = token(t, f, 0, 8<<20)
	a.Kill()
	_, err = Write(g, 0, 8<<20, 0, tok)
	want(t, "array is down", err, ntstatus.DeviceUnreachable)
	holds(t, "an offload that failed", g, data)
	must(t, a.Run())
}

// The source dies in the middle: what was reported written is right, the rest is as it was.
func TestSourceDiesMidway(t *testing.T) {
	a, b := pair(t)
	from, to := connect(t, a, "vms"), connect(t, b, "vms")
	const size = 96 << 20
	f, data := filled(t, from, "source", size, 1)
	must(t, f.Flush())
	g, before := filled(t, to, "target", size, 2)
	tok := token(t, f, 0, size)
	dead := make(chan struct{})
	at, err := Write(g, 0, 16<<20, 0, tok)
	must(t, err)
	go func() { a.Kill(); close(dead) }()
	for at < size {
		var n uint64
		n, err = Write(g, at, size-at, at, tok)
		if err != nil {
			break
		}
		at += n
	}
	<-dead
	if err != nil {
		want(t, "what was left", err, ntstatus.DeviceUnreachable)
	}
	got := contents(t, g, 0, size)
	if string(got[:at]) != string(data[:at]) {
		t.Errorf("of the %d bytes that were reported some are wrong", at)
	}
	// Beyond it every block is old or new: nothing that was neither.
	for i := int(at); i < size; i += 4096 {
		end := min(i+4096-i%4096, size)
		if block := string(got[i:end]); block != string(before[i:end]) && block != string(data[i:end]) {
			t.Fatalf("garbage at %d, %d were reported", i, at)
		}
	}
	t.Logf("%d of %d bytes came before the source died", at, size)
}

// Tokens that cannot be honoured across arrays.
func TestPeerTokens(t *testing.T) {
	a, b := pair(t)
	f, _ := filled(t, connect(t, a, "vms"), "source", 1<<20, 1)
	g := file(t, connect(t, b, "vms"), "target")
	must(t, Truncate(g, 1<<20))
	tok := token(t, f, 0, 1<<20)
	forged := tok
	forged[8+60] ^= 1
	_, err := Write(g, 0, 1<<20, 0, forged)
	want(t, "forged", err, ntstatus.InvalidToken)
	_, err = Write(g, 0, 1<<20, 1<<20, tok)
	want(t, "past the token", err, ntstatus.InvalidParameter)
	n, err := Write(g, 0, 512, 512, tok)
	if must(t, err); n != 512 {
		t.Errorf("wrote %d", n)
	}
	// The other way round no trust was asked for by address.
	h, _ := filled(t, connect(t, b, "vms"), "back", 1<<20, 2)
	_, err = Write(file(t, connect(t, a, "vms"), "source"), 0, 1<<20, 0, token(t, h, 0, 1<<20))
	want(t, "of a peer without an address", err, ntstatus.DeviceUnreachable)
	if _, ok := client.Status(err); !ok {
		t.Error(err)
	}
}
