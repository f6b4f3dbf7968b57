package rsvd

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/rsvd/vhdx"
	"gabion/store"
	"gabion/store/memvol"
)

// PREEMPT AND ABORT ends what its victims have under way, also what waits for a snapshot.
func TestPreemptAndAbortEndsWaitingTasks(t *testing.T) {
	a := newArray(t)
	victim, winner := a.disk("s.vhds", 1), a.disk("s.vhds", 2)
	must(t, victim.step(RegisterAndIgnore, 0, keyOne, Good))
	must(t, victim.step(Reserve, keyOne, 0, Good))
	must(t, winner.step(RegisterAndIgnore, 0, keyTwo, Good))
	m, id := meta(wire.MetaCreateSnapshot), dtyp.NewGUID()
	must(t, winner.stage(m, wire.SnapshotVM, id, wire.StageInitialize, wire.StageBlockIO))
	write, err := victim.Tree.Start(&smb2.WriteRequest{FileID: victim.ID, Data: sector(1)})
	must(t, err)
	_, _, err = write.Interim()
	must(t, err)
	command, err := victim.begin(wire.SCSI, Request([]byte{0x2A, 8: 1, 9: 0}, sector(1), 0))
	must(t, err)
	_, _, err = command.Interim()
	must(t, err)
	must(t, winner.step(PreemptAndAbort, keyTwo, keyOne, Good))
	err = write.Done()
	status, _ := client.Status(err)
	if status&^0xFF != ntstatus.SVHDXErrorStored {
		t.Fatalf("the write ended with %v", err)
	}
	var srb wire.SRBStatusResponse
	must(t, victim.Ask(wire.SRBStatus, &srb, &wire.SRBStatusRequest{StatusKey: uint8(status)}))
	if srb.SrbStatus != wire.SrbAborted || srb.ScsiStatus != TaskAborted {
		t.Errorf("stored: SRB %#x, SCSI %#x", srb.SrbStatus, srb.ScsiStatus)
	}
	r, err := command.Wait()
	must(t, err)
	var out smb2.IoctlResponse
	must(t, r.Decode(&out))
	var answer wire.SCSIResponse
	must(t, answer.Decode(out.Output[wire.TunnelHeaderSize:]))
	if answer.SrbStatus != wire.SrbAborted || answer.ScsiStatus != TaskAborted {
		t.Errorf("command: SRB %#x, SCSI %#x", answer.SrbStatus, answer.ScsiStatus)
	}
	must(t, winner.stage(m, wire.SnapshotVM, id, wire.StageUnblockIO))
	a.holds(winner, 0, 0)
}

// What SRB_STATUS and unit attentions tell survives the server.
func TestSenseSurvivesTheServer(t *testing.T) {
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("a.vhdx", dynamic(t, smallDisk)))
	d, err := a.Open("a.vhdx", How{Initiator: initiator(1), Persistent: dtyp.NewGUID()})
	must(t, err)
	other, err := a.Open("a.vhdx", How{Initiator: initiator(2), Persistent: dtyp.NewGUID()})
	must(t, err)
	_, err = d.ReadAt(make([]byte, sectorSize), smallDisk)
	status, _ := client.Status(err)
	must(t, other.Ask(wire.MetaOperationStart, nil, meta(wire.MetaResize), &wire.Resize{NewSize: 2 * smallDisk}))
	r.Kill()
	must(t, r.Run())
	h, err := serverOf(r).ConnectAs(a.GUID)
	must(t, err)
	defer h.Close()
	d, err = h.Reclaim(d)
	must(t, err)
	var srb wire.SRBStatusResponse
	must(t, d.Ask(wire.SRBStatus, &srb, &wire.SRBStatusRequest{StatusKey: uint8(status)}))
	if srb.Sense[2] != 5 || srb.Sense[12] != 0x21 {
		t.Errorf("sense % x", srb.Sense)
	}
	_, err = d.ReadAt(make([]byte, sectorSize), 0)
	a.is("first read", err, ntstatus.SVHDXUnitAttentionCapacityDataChanged)
	a.holds(d, 2*smallDisk-sectorSize, 0)
	_, err = d.ReadAt(make([]byte, sectorSize), 2*smallDisk)
	if next, _ := client.Status(err); uint8(next) != uint8(status)+1 {
		t.Errorf("the ring goes on with %v after %v", next, status)
	}
}

// A snapshot by the array of a folder with a shared disk is one instant for all its writers:
// of what each was told was written before it was asked for, nothing is missing; and of each
// writer it has all writes up to some one. The disk in it opens as after a power cut.
func TestArraySnapshotIsCrashConsistent(t *testing.T) {
	r, s := start(t)
	a := &array{T: t, Server: s}
	a.Host = a.host()
	must(t, a.Upload("a.vhdx", dynamic(t, smallDisk)))
	const writers, slots = 3, 8
	var told [writers]atomic.Uint64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for i := range writers {
		h := a.host()
		d, err := h.Open("a.vhdx", How{Initiator: initiator(byte(i + 1))})
		must(t, err)
		wg.Go(func() {
			for n := uint64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				// Each write goes to the next of a writer's places, which lie in blocks of their own.
				p := make([]byte, 4096)
				binary.LittleEndian.PutUint64(p, n)
				if _, err := d.WriteAt(p, place(i, n)); err != nil {
					t.Errorf("writer %d: %v", i, err)
					return
				}
				told[i].Store(n)
			}
		})
	}
	type taken struct {
		name   string
		before [writers]uint64
	}
	var snaps []taken
	for n := range 5 {
		for told[0].Load() < uint64(10*(n+1)) {
			time.Sleep(time.Millisecond)
		}
		s := taken{name: fmt.Sprint("s", n)}
		for i := range told {
			s.before[i] = told[i].Load()
		}
		command(t, r, nil, "snapshot", "create", "disks", s.name)
		snaps = append(snaps, s)
	}
	close(stop)
	wg.Wait()
	for _, s := range snaps {
		command(t, r, nil, "snapshot", "mount", s.name, "disks", "old-"+s.name)
		old := a.Server
		old.Share = "old-" + s.name
		box := openImage(t, download(t, old, "a.vhdx"))
		for i := range writers {
			var newest uint64
			var have [slots]uint64
			for n := uint64(1); n <= slots; n++ {
				p := make([]byte, 4096)
				must(t, box.ReadAt(p, place(i, n)))
				have[n%slots] = binary.LittleEndian.Uint64(p)
				newest = max(newest, have[n%slots])
			}
			if newest < s.before[i] {
				t.Errorf("%s: writer %d had been told %d, the snapshot has %d", s.name, i, s.before[i], newest)
			}
			for n := newest; n > 0 && n+slots > newest; n-- {
				if have[n%slots] != n {
					t.Errorf("%s: writer %d: the snapshot has write %d but not %d", s.name, i, newest, n)
				}
			}
		}
		box.Close()
	}
}

// place is where write n of a writer goes.
func place(writer int, n uint64) int64 {
	const slots = 8
	return int64(writer)<<20 + int64(n%slots)*(4<<20)
}

// download reads a file of a share.
func download(t *testing.T, s Server, name string) []byte {
	t.Helper()
	h, err := s.Connect()
	must(t, err)
	defer h.Close()
	m := client.OpenFile(name)
	m.CreateDisposition, m.DesiredAccess = smb2.DispositionOpen, dtyp.FileReadData
	f, err := h.Tree.Create(m)
	must(t, err)
	b := make([]byte, f.Response.EndOfFile)
	for off := 0; off < len(b); off += 1 << 20 {
		if _, err := f.ReadAt(b[off:min(off+1<<20, len(b))], int64(off)); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// openImage opens a container's bytes.
func openImage(t *testing.T, b []byte) *vhdx.Disk {
	t.Helper()
	v := memvol.New(memvol.Options{})
	root, err := v.Root(store.Live)
	must(t, err)
	n, _, err := v.Create(root, "f", store.Init{})
	must(t, err)
	data, err := n.Data()
	must(t, err)
	_, err = data.WriteAt(b, 0, store.Touch{})
	must(t, err)
	box, err := vhdx.Open(data, vhdx.Options{})
	must(t, err)
	return box
}
