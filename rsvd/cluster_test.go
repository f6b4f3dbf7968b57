package rsvd

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the transcripts")

var typeNames = map[string]scsi.Type{"we": scsi.WriteExclusive, "ea": scsi.ExclusiveAccess, "we-ro": scsi.WriteExclusiveRegistrantsOnly,
	"ea-ro": scsi.ExclusiveAccessRegistrantsOnly, "we-ar": scsi.WriteExclusiveAllRegistrants, "ea-ar": scsi.ExclusiveAccessAllRegistrants}

// cluster plays a transcript.
type cluster struct {
	*world
	opens map[string]*client
	keys  map[string]uint64
}

func TestClusterTranscript(t *testing.T) {
	const path = "testdata/cluster.txt"
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{world: newWorld(t), opens: map[string]*client{}, keys: map[string]uint64{}}
	c.set("s")
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "=") {
			continue
		}
		if line == "restart" {
			c.restart()
			clear(c.opens)
			continue
		}
		do, want, _ := strings.Cut(line, " -> ")
		got := c.play(strings.Fields(do))
		lines[i] = do + " -> " + got
		if got != want && !*rewrite {
			t.Errorf("%s:%d: %s -> %s, want %s", path, i+1, do, got, want)
		}
	}
	if *rewrite {
		if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")), 0o666); err != nil {
			t.Fatal(err)
		}
	}
}

func (c *cluster) play(f []string) string {
	name, verb, args := f[0], f[1], f[2:]
	o := c.opens[name]
	key := func(i int) uint64 {
		k, err := strconv.ParseUint(args[i], 16, 64)
		c.must(err)
		return k
	}
	mine := c.keys[name]
	switch verb {
	case "open":
		c.opens[name] = c.open("s.vhds", name[0])
		return "ok"
	case "close":
		o.close()
		return "ok"
	case "register":
		c.keys[name] = key(0)
		return o.result(o.prOut(scsi.RegisterAndIgnore, 0, 0, key(0)))
	case "reregister":
		c.keys[name] = key(1)
		return o.result(o.prOut(scsi.Register, 0, key(0), key(1)))
	case "unregister":
		return o.result(o.prOut(scsi.RegisterAndIgnore, 0, 0, 0))
	case "reserve":
		return o.result(o.prOut(scsi.Reserve, typeNames[args[0]], mine, 0))
	case "release":
		return o.result(o.prOut(scsi.Release, typeNames[args[0]], mine, 0))
	case "clear":
		return o.result(o.prOut(scsi.Clear, 0, mine, 0))
	case "preempt":
		return o.result(o.prOut(scsi.Preempt, typeNames[args[0]], mine, key(1)))
	case "abort":
		return o.result(o.prOut(scsi.PreemptAndAbort, typeNames[args[0]], mine, key(1)))
	case "ready":
		return o.result(o.scsi([]byte{0x00}, nil, 0))
	case "read":
		_, s := o.read(512, 0)
		return word(s)
	case "write":
		return word(o.write(sectors(1, name[0]), 0))
	case "keys":
		return o.showKeys()
	case "reservation":
		return o.showReservation()
	}
	c.t.Fatalf("unknown command %q", verb)
	return ""
}

func (c *client) prOut(a scsi.Action, ty scsi.Type, key, actionKey uint64) wire.SCSIResponse {
	list := append(bigEndian.AppendUint64(bigEndian.AppendUint64(nil, key), actionKey), make([]byte, 8)...)
	return c.scsi([]byte{0x5F, byte(a), byte(ty), 8: 24}, list, 0)
}

func (c *client) result(r wire.SCSIResponse) string {
	switch scsi.Status(r.ScsiStatus) {
	case scsi.Good:
		return "good"
	case scsi.ReservationConflict:
		return "conflict"
	}
	kind := "error"
	if r.Sense[2] == 6 {
		kind = "UA"
	}
	return fmt.Sprintf("%s %02X/%02X/%02X", kind, r.Sense[2], r.Sense[12], r.Sense[13])
}

func word(s ntstatus.Status) string {
	switch s {
	case ntstatus.Success:
		return "ok"
	case ntstatus.SVHDXReservationConflict:
		return "conflict"
	}
	return s.String()
}

func (c *client) showKeys() string {
	d := c.scsi([]byte{0x5E, 0, 7: 1}, nil, 256).Data
	s := fmt.Sprintf("generation %d:", bigEndian.Uint32(d))
	for d = d[8:]; len(d) > 0; d = d[8:] {
		s += fmt.Sprintf(" %x", bigEndian.Uint64(d))
	}
	return s
}

func (c *client) showReservation() string {
	d := c.scsi([]byte{0x5E, 1, 7: 1}, nil, 256).Data
	s := fmt.Sprintf("generation %d:", bigEndian.Uint32(d))
	if len(d) == 8 {
		return s + " none"
	}
	for name, ty := range typeNames {
		if d[21] == byte(ty) {
			return fmt.Sprintf("%s %x %s", s, bigEndian.Uint64(d[8:]), name)
		}
	}
	return "unknown type"
}

// Initiators fight for a disk over kill -9 and reconnect: whoever was told that it
// holds the disk exclusively is the only one that writes until it gives it up or is
// preempted.
func TestExclusiveOwnerOverRestarts(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 21))
		w := newWorld(t)
		w.disk("a.vhdx", vhdx.Params{})
		n := 2 + rng.IntN(7)
		opens := make([]*client, n)
		reopen := func() {
			for i := range opens {
				opens[i] = w.open("a.vhdx", byte(i+1))
			}
		}
		reopen()
		owner := -1 // whose RESERVE or PREEMPT with an exclusive type was GOOD last
		for range 120 {
			i := rng.IntN(n)
			me := uint64(i + 1)
			switch rng.IntN(8) {
			case 0:
				w.restart()
				reopen()
			case 1:
				opens[i].prOut(scsi.RegisterAndIgnore, 0, 0, me)
			case 2:
				if r := opens[i].prOut(scsi.Reserve, scsi.ExclusiveAccess, me, 0); r.ScsiStatus == 0 {
					owner = i
				}
			case 3:
				if owner < 0 {
					break
				}
				if r := opens[i].prOut(scsi.Preempt+scsi.Action(rng.IntN(2)), scsi.WriteExclusive, me, uint64(owner+1)); r.ScsiStatus == 0 {
					owner = i
				}
			case 4:
				if r := opens[i].prOut(scsi.RegisterAndIgnore, 0, 0, 0); r.ScsiStatus == 0 && owner == i {
					owner = -1
				}
			case 5:
				o := opens[i]
				o.close() // the disk stays open for the others
				opens[i] = w.open("a.vhdx", byte(i+1))
			default:
				if s := opens[i].write(sectors(1, byte(i+1)), 0); s == ntstatus.Success && owner >= 0 && owner != i {
					t.Fatalf("seed %d: initiator %d wrote while %d held the disk", seed, i, owner)
				} else if s == ntstatus.SVHDXReservationConflict && owner < 0 {
					t.Fatalf("seed %d: initiator %d was refused by nobody", seed, i)
				}
			}
		}
	}
}

// Everything at once: writers, preemption, snapshots and resizing on one disk.
func TestConcurrentUse(t *testing.T) {
	w := newWorld(t)
	w.set("s")
	const writers = 4
	var wg sync.WaitGroup
	var stop atomic.Bool
	for i := range writers {
		c := w.open("s.vhds", byte(i+1))
		wg.Go(func() {
			defer c.close()
			off := uint64(i) << 20
			for n := byte(1); !stop.Load(); n++ {
				s := make(chan ntstatus.Status, 1)
				p := sectors(8, n)
				c.Write(p, off, func(_ store.Pos, x ntstatus.Status) { s <- x })
				if got := <-s; got != ntstatus.Success {
					if got != ntstatus.SVHDXUnitAttentionCapacityDataChanged && got != ntstatus.SVHDXUnitAttentionOperatingDefinitionChanged {
						t.Errorf("write: %v", got)
					}
					continue
				}
				q := make([]byte, len(p))
				c.Read(q, off, func(_ int, x ntstatus.Status) { s <- x })
				if got := <-s; got == ntstatus.Success && !bytes.Equal(p, q) {
					t.Error("read something else than was written")
				}
			}
		})
	}
	admin := w.open("s.vhds", 99)
	ask := func(parts ...encoder) {
		done := make(chan ntstatus.Status, 1)
		in := (&wire.TunnelHeader{Operation: wire.MetaOperationStart}).AppendTo(nil)
		for _, p := range parts {
			in = p.AppendTo(in)
		}
		admin.Tunnel(in, 4096, func(out []byte, _ store.Pos, s ntstatus.Status) {
			var h wire.TunnelHeader
			if s == ntstatus.Success && h.Decode(out) == nil {
				s = h.Status
			}
			done <- s
		})
		if s := <-done; s != ntstatus.Success {
			t.Error(s)
		}
	}
	for n := byte(1); n <= 20; n++ {
		ask(meta(n, wire.MetaCreateSnapshot), &wire.CreateSnapshot{Type: wire.SnapshotVM, SnapshotID: dtyp.GUID{n}, Flags: 1,
			Stages: [6]wire.Stage{wire.StageInitialize, wire.StageBlockIO, wire.StageSwitchObjectStore, wire.StageUnblockIO, wire.StageFinalize}})
		ask(meta(n+100, wire.MetaResize), &wire.Resize{NewSize: diskSize + uint64(n)<<20})
	}
	stop.Store(true)
	wg.Wait()
	admin.close()
}

func FuzzTunnel(f *testing.F) {
	for _, op := range []wire.Operation{wire.GetInitialInfo, wire.GetDiskInfo, wire.ChangeTrackingStop, wire.QuerySafeSize} {
		f.Add((&wire.TunnelHeader{Operation: op}).AppendTo(nil), uint16(4096))
	}
	f.Add(scsiRequest([]byte{0x28, 8: 1}, nil, 512).AppendTo((&wire.TunnelHeader{Operation: wire.SCSI}).AppendTo(nil)), uint16(100))
	f.Add((&wire.Resize{NewSize: 1 << 20}).AppendTo(meta(1, wire.MetaResize).AppendTo((&wire.TunnelHeader{Operation: wire.MetaOperationStart}).AppendTo(nil))), uint16(100))
	f.Fuzz(func(t *testing.T, in []byte, room uint16) {
		w := newWorld(t)
		w.set("s")
		c := w.open("s.vhds", 1)
		defer c.close()
		answers := 0
		c.Tunnel(in, int(room), func(out []byte, _ store.Pos, _ ntstatus.Status) {
			answers++
			if len(out) > int(room) {
				t.Errorf("%d bytes for a buffer of %d", len(out), room)
			}
		})
		if answers != 1 {
			t.Errorf("answered %d times", answers)
		}
	})
}

// The cost of going through a shared disk, beside the same on the plain file.
func BenchmarkWrite4K(b *testing.B) {
	w := newWorld(b)
	w.disk("a.vhdx", vhdx.Params{})
	c := w.open("a.vhdx", 1)
	p := sectors(8, 1)
	for off := range uint64(4096) {
		c.wrote(p, off*4096)
	}
	b.Run("shared", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			c.Write(p, uint64(i%4096)*4096, func(store.Pos, ntstatus.Status) {})
		}
	})
	s, err := c.node.Data()
	w.must(err)
	b.Run("plain", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			s.WriteAt(p, int64(4<<20+i%4096*4096), store.Touch{})
		}
	})
}
