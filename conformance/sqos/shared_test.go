package sqos

import (
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/conformance/rsvd"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	tunnel "gabion/protocol/rsvd"
	"gabion/protocol/smb2"
	wire "gabion/protocol/sqos"
	"gabion/rsvd/vhdx"
	"gabion/store"
	"gabion/store/memvol"
)

// image is a shared disk's file.
func image(t testing.TB) []byte {
	t.Helper()
	v := memvol.New(memvol.Options{})
	defer v.Close()
	root, err := v.Root(store.Live)
	must(t, err)
	n, _, err := v.Create(root, "f", store.Init{})
	must(t, err)
	defer n.Close()
	s, err := n.Data()
	must(t, err)
	defer s.Close()
	_, err = vhdx.Create(s, vhdx.Params{Size: 64 << 20}, store.Touch{})
	must(t, err)
	b := make([]byte, s.Sizes().Size)
	_, err = s.ReadAt(b, 0)
	must(t, err)
	return b
}

// sharing starts a server with a shared disk and opens that for some hosts.
func sharing(t testing.TB, hosts int) (*rig.Server, []*rsvd.Disk) {
	t.Helper()
	s := rig.Start(t, "--share", "disks,shared-vhdx,path=disks")
	at := rsvd.Server{Addr: s.Addr, Share: "disks", Credentials: client.Credentials{User: rig.User, Password: rig.Password}}
	var disks []*rsvd.Disk
	for range hosts {
		h, err := at.Connect()
		must(t, err)
		t.Cleanup(h.Close)
		if disks == nil {
			must(t, h.Upload("a.vhdx", image(t)))
		}
		d, err := h.Open("a.vhdx", rsvd.How{Initiator: dtyp.NewGUID()})
		must(t, err)
		disks = append(disks, d)
	}
	return s, disks
}

const sector = 512

// cdb is a command of ten bytes that moves so many bytes.
func cdb(code byte, bytes int) []byte {
	c := make([]byte, 10)
	c[0] = code
	binary.BigEndian.PutUint16(c[7:], uint16(bytes/sector))
	return c
}

// moves are the ways to data of a shared disk.
var moves = []struct {
	name string
	do   func(*rsvd.Disk, []byte) error
}{
	{"READ", func(d *rsvd.Disk, p []byte) error { _, err := d.ReadAt(p, 0); return err }},
	{"WRITE", func(d *rsvd.Disk, p []byte) error { _, err := d.WriteAt(p, 0); return err }},
	{"READ (10)", func(d *rsvd.Disk, p []byte) error { return good(d.SCSI(cdb(0x28, len(p)), nil, len(p))) }},
	{"WRITE (10)", func(d *rsvd.Disk, p []byte) error { return good(d.SCSI(cdb(0x2A, len(p)), p, 0)) }},
}

func good(r tunnel.SCSIResponse, err error) error {
	if err == nil && r.ScsiStatus != rsvd.Good {
		return fmt.Errorf("SCSI status %#x", r.ScsiStatus)
	}
	return err
}

// The enforcer sees shared disks, by SMB and by SCSI: what moves data is limited. A machine that is
// slow makes it slower still, so this holds under any load.
func TestSharedDiskIsLimited(t *testing.T) {
	const limit, n, slack = 20, 20, 2 // what may go at once
	_, disks := sharing(t, 1)
	_, err := Disk{disks[0].File}.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, limit))
	must(t, err)
	for _, m := range moves {
		t.Run(m.name, func(t *testing.T) {
			p := make([]byte, 8192)
			must(t, m.do(disks[0], p))
			began := time.Now()
			for range n {
				must(t, m.do(disks[0], p))
			}
			if took, least := time.Since(began), time.Second*(n-slack)*10/(limit*11); took < least {
				t.Errorf("%d in %v, limit %d a second", n, took, limit)
			}
		})
	}
}

// Two hosts of a shared disk share what an aggregated policy allows.
func TestHostsOfASharedDiskShareALimit(t *testing.T) {
	const limit, n, slack = 20, 10, 2
	s, disks := sharing(t, 2)
	id := dtyp.NewGUID()
	policy(t, s, "both", "aggregated", id, 0, limit, 0)
	done := make(chan error, len(disks))
	began := time.Now()
	for _, d := range disks {
		_, err := Disk{d.File}.Control(Say{Request: wire.Request{Version: wire.Version11, Options: wire.SetLogicalFlowID | wire.SetPolicy,
			FlowID: dtyp.NewGUID(), PolicyID: id, InitiatorID: dtyp.NewGUID()}})
		must(t, err)
		go func() {
			p := make([]byte, 8192)
			var err error
			for i := 0; i < n && err == nil; i++ {
				err = moves[2].do(d, p)
			}
			done <- err
		}()
	}
	for range disks {
		must(t, <-done)
	}
	if took, least := time.Since(began), time.Second*(2*n-slack)*10/(limit*11); took < least {
		t.Errorf("%d by two hosts in %v, limit %d a second", 2*n, took, limit)
	}
}

// While data waits, the disk answers what moves none; what waits when the disk is closed ends.
func TestSharedDiskAnswersWhileDataWaits(t *testing.T) {
	s, disks := sharing(t, 1)
	d := disks[0]
	_, err := Disk{d.File}.Control(say(wire.SetLogicalFlowID|wire.SetPolicy, flowA, 1))
	must(t, err)
	must(t, moves[0].do(d, make([]byte, 512<<10))) // a minute's worth: what comes next waits however slow the machine is
	in := (&tunnel.TunnelHeader{Operation: tunnel.SCSI, RequestID: 1000}).AppendTo(nil)
	in = rsvd.Request(cdb(0x28, 64<<10), nil, 64<<10).AppendTo(in)
	waiting, err := d.Tree.Start(&smb2.IoctlRequest{CtlCode: uint32(fscc.FsctlSvhdxSyncTunnelRequest), FileID: d.ID, Input: in,
		MaxOutputResponse: 128 << 10, Flags: smb2.IoctlIsFsctl})
	must(t, err)
	asyncID(t, waiting)
	must(t, good(d.SCSI(make([]byte, 6), nil, 0))) // TEST UNIT READY
	if _, err := d.ReserveOut(rsvd.Register, 0, 0, 7); err != nil {
		t.Error(err)
	}
	if f := flowsOf(t, s)[flowA.String()]; f.Waiting != 1 {
		t.Errorf("%d wait", f.Waiting)
	}
	must(t, d.Close())
	is(t, waiting.Done(), ntstatus.Cancelled)
}
