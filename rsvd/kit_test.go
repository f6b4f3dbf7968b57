package rsvd

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
	"gabion/store/block"
	"gabion/store/memvol"
)

// world is a volume with a service over it.
type world struct {
	t   testing.TB
	vol store.Volume
	dir StoreFolder
	svc *Service
}

func newWorld(t testing.TB) *world { return worldOn(t, memvol.New(memvol.Options{})) }

// engineWorld is on the real engine.
func engineWorld(t testing.TB) *world {
	v, err := block.Open(block.Options{Dir: "data", FS: vfs.NewMem(), SegmentSize: 4 << 20, CacheSize: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { v.Close() })
	return worldOn(t, v)
}

func worldOn(t testing.TB, v store.Volume) *world {
	w := &world{t: t, vol: v}
	root, err := v.Root(store.Live)
	w.must(err)
	w.dir = StoreFolder{v, root}
	w.restart()
	return w
}

// restart is a new process on the same volume: nothing of the old service's memory
// is left.
func (w *world) restart() { w.svc = New(Options{AcceptLogNames: true}) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

const diskSize = 16 << 20

// disk makes a VHDX file, set a VHD set with a payload.
func (w *world) disk(name string, p vhdx.Params) {
	w.t.Helper()
	if p.Size == 0 {
		p.Size, p.BlockSize = diskSize, 1<<20
	}
	n, err := w.dir.Create(name)
	w.must(err)
	defer n.Close()
	s, err := n.Data()
	w.must(err)
	defer s.Close()
	_, err = vhdx.Create(s, p, store.Touch{})
	w.must(err)
}

func (w *world) set(name string) {
	w.t.Helper()
	w.disk(name+"_1.avhdx", vhdx.Params{})
	n, err := w.dir.Create(name + ".vhds")
	w.must(err)
	defer n.Close()
	s, err := n.Data()
	w.must(err)
	defer s.Close()
	_, err = vhdx.WriteSet(s, name+"_1.avhdx", store.Touch{})
	w.must(err)
}

func initiator(n byte) dtyp.GUID { return dtyp.GUID{n, 15: 0xC1} }

func deviceContext(version uint32, i dtyp.GUID) *smb2.SVHDXOpenDevice {
	return &smb2.SVHDXOpenDevice{Version: version, HasInitiatorID: !i.IsZero(), InitiatorID: i, OriginatorFlags: smb2.SVHDXOriginatorPVHDParser}
}

func (w *world) try(name string, context []byte, target *wire.TargetSpecifier) (*client, ntstatus.Status) {
	w.t.Helper()
	n, err := w.dir.Open(name)
	if err != nil {
		return nil, ntstatus.ObjectNameNotFound
	}
	o, status := w.svc.Open(OpenRequest{Volume: w.vol, Node: n, Name: name, Folder: w.dir, RawContext: context, Target: target, CreateOptions: noIntermediateBuffering, Rights: MayRead | MayWrite | MayDelete})
	if status != ntstatus.Success {
		n.Close()
		return nil, status
	}
	return &client{Open: o, t: w.t, node: n}, status
}

func (w *world) open(name string, n byte) *client {
	w.t.Helper()
	c, status := w.try(name, deviceContext(wire.Version2, initiator(n)).AppendTo(nil), nil)
	if status != ntstatus.Success {
		w.t.Fatalf("open %s: %v", name, status)
	}
	return c
}

// client is one host's open.
type client struct {
	*Open
	t    testing.TB
	node store.Node
	next uint64
}

func (c *client) close() {
	c.Close()
	c.node.Close()
}

type encoder interface{ AppendTo([]byte) []byte }

type message interface {
	encoder
	Decode([]byte) error
}

// start sends a tunnel request and returns where its answer will be.
type answer struct {
	done   bool
	header wire.TunnelHeader
	body   []byte
	status ntstatus.Status
}

func (c *client) start(op wire.Operation, room int, parts ...encoder) *answer {
	c.t.Helper()
	c.next++
	in := (&wire.TunnelHeader{Operation: op, RequestID: c.next}).AppendTo(nil)
	for _, p := range parts {
		in = p.AppendTo(in)
	}
	id, a := c.next, &answer{}
	c.Tunnel(in, room, func(out []byte, _ store.Pos, status ntstatus.Status) {
		if a.done {
			c.t.Error("answered twice")
		}
		a.done, a.status = true, status
		if len(out) > room {
			c.t.Errorf("%d bytes for a buffer of %d", len(out), room)
		}
		if status == ntstatus.Success {
			if err := a.header.Decode(out); err != nil || a.header.Operation != op || a.header.RequestID != id {
				c.t.Errorf("header %v, %v", a.header, err)
			}
			a.body = out[wire.TunnelHeaderSize:]
		}
	})
	return a
}

// ask wants success on both channels.
func (c *client) ask(op wire.Operation, reply message, parts ...encoder) {
	c.t.Helper()
	a := c.start(op, 4096, parts...)
	if !a.done || a.status != ntstatus.Success || a.header.Status != ntstatus.Success {
		c.t.Fatalf("%v: done %v, %v, header %v", op, a.done, a.status, a.header.Status)
	}
	if reply != nil {
		if err := reply.Decode(a.body); err != nil {
			c.t.Fatalf("%v: %v", op, err)
		}
	}
}

func scsiRequest(cdb []byte, out []byte, in int) *wire.SCSIRequest {
	r := &wire.SCSIRequest{Length: 36, CDBLength: 16, SenseInfoExLength: 20, Disposition: wire.DataIn, SrbFlags: wire.SrbDataIn, DataTransferLength: uint32(in)}
	if out != nil {
		r.Disposition, r.SrbFlags, r.DataTransferLength, r.Data = wire.DataOut, wire.SrbDataOut, uint32(len(out)), out
	}
	copy(r.CDB[:], cdb)
	return r
}

func (c *client) scsi(cdb []byte, out []byte, in int) wire.SCSIResponse {
	c.t.Helper()
	var r wire.SCSIResponse
	c.ask(wire.SCSI, &r, scsiRequest(cdb, out, in))
	return r
}

var bigEndian = binary.BigEndian

// reserveOut sends PERSISTENT RESERVE OUT and returns the SCSI status.
func (c *client) reserveOut(a scsi.Action, ty scsi.Type, key, actionKey uint64, aptpl bool) scsi.Status {
	c.t.Helper()
	list := bigEndian.AppendUint64(bigEndian.AppendUint64(nil, key), actionKey)
	list = append(list, make([]byte, 8)...)
	if aptpl {
		list[20] = 1
	}
	return scsi.Status(c.scsi([]byte{0x5F, byte(a), byte(ty), 8: 24}, list, 0).ScsiStatus)
}

func (c *client) write(p []byte, off uint64) ntstatus.Status {
	s := ntstatus.Pending
	c.Write(p, off, func(_ store.Pos, x ntstatus.Status) { s = x })
	return s
}

func (c *client) read(n int, off uint64) ([]byte, ntstatus.Status) {
	p, s := make([]byte, n), ntstatus.Pending
	c.Read(p, off, func(_ int, x ntstatus.Status) { s = x })
	return p, s
}

func (c *client) wrote(p []byte, off uint64) {
	c.t.Helper()
	if s := c.write(p, off); s != ntstatus.Success {
		c.t.Fatalf("write: %v", s)
	}
}

// starts reports what the disk holds at an offset.
func (c *client) byteAt(off uint64) byte {
	c.t.Helper()
	p, s := c.read(512, off)
	if s != ntstatus.Success {
		c.t.Fatalf("read: %v", s)
	}
	return p[0]
}

func sectors(n int, b byte) []byte {
	p := make([]byte, 512*n)
	for i := range p {
		p[i] = b
	}
	return p
}

// meta builds a meta operation.
func meta(id byte, kind wire.MetaOperation) *wire.MetaStart {
	return &wire.MetaStart{TransactionID: dtyp.GUID{id}, Type: kind}
}

// snap takes a VM snapshot in the two calls that hosts make.
func (c *client) snap(n byte) dtyp.GUID {
	c.t.Helper()
	id := dtyp.GUID{n, 1: 0x5A}
	c.ask(wire.MetaOperationStart, nil, meta(n, wire.MetaCreateSnapshot),
		&wire.CreateSnapshot{Type: wire.SnapshotVM, Flags: wire.SnapshotEnableTracking, Stages: [6]wire.Stage{wire.StageInitialize}, SnapshotID: id})
	c.ask(wire.MetaOperationStart, nil, meta(n, wire.MetaCreateSnapshot),
		&wire.CreateSnapshot{Type: wire.SnapshotVM, SnapshotID: id, Stages: [6]wire.Stage{wire.StageBlockIO, wire.StageSwitchObjectStore, wire.StageUnblockIO, wire.StageFinalize}})
	return id
}

// time31 is a second after the longest time a disk may stay blocked.
func time31() <-chan time.Time { return time.After(vmBlockLimit + time.Second) }
