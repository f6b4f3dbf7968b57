package fault

import (
	"fmt"
	"math/rand/v2"
	"time"

	"gabion/conformance/client"
	"gabion/conformance/crash"
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// manage creates, renames and removes files as the management of virtual machines does. Each step
// takes effect exactly once, however often it is sent.
func manage(h *host, rng *rand.Rand, stop <-chan struct{}) {
	for n := 1; ; n++ {
		select {
		case <-stop:
			return
		default:
		}
		name := fmt.Sprintf("%s-%d.vmcx", h.name, n)
		if err := lifeOf(h, name, uint64(n)); err != nil && err != errGone {
			h.rig.violation("%s, %s: %v\n%s", h.name, name, err, h.rig.recent())
			return
		}
		h.rig.count("files made, renamed and removed")
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
}

// lifeOf is one file from its creation to its end.
func lifeOf(h *host, name string, n uint64) error {
	exclusive := func(name string, disposition smb2.CreateDisposition, options smb2.CreateOptions) *handle {
		return &handle{name: name, guid: dtyp.NewGUID(), persistent: true, request: func() *smb2.CreateRequest {
			m := client.OpenFile(name)
			m.CreateDisposition, m.ShareAccess = disposition, 0
			m.CreateOptions |= options
			return m
		}}
	}
	f := exclusive(name, smb2.DispositionCreate, 0)
	if err := spared(func() error { return h.open(f) }); err != nil {
		return fmt.Errorf("create: %w", err)
	}
	p := make([]byte, blockSize)
	crash.Stamp(p, uint32(h.guid[15]), 0, n)
	if err := spared(func() error {
		return f.call(func(id smb2.FileID) smb2.Message { return &smb2.WriteRequest{FileID: id, Data: p} }, nil, nil)
	}); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	final := name + ".final"
	if err := spared(func() error {
		return f.call(func(id smb2.FileID) smb2.Message {
			return &smb2.SetInfoRequest{InfoType: smb2.InfoFile, FileInfoClass: uint8(fscc.FileRenameInformation), FileID: id, Buffer: renameTo(final)}
		}, nil, nil)
	}); err != nil {
		return fmt.Errorf("rename: %w", err)
	}
	f.host.mu.Lock()
	f.name = final
	f.host.mu.Unlock()
	if err := f.shut(); err != nil {
		return err
	}
	// A second open of the first CREATE, if a late request had made one, would be in the way.
	f = exclusive(final, smb2.DispositionOpen, smb2.OptionDeleteOnClose)
	if err := spared(func() error { return h.open(f) }); err != nil {
		return fmt.Errorf("open of the renamed: %w", err)
	}
	var out smb2.ReadResponse
	if err := f.call(func(id smb2.FileID) smb2.Message { return &smb2.ReadRequest{FileID: id, Length: blockSize} }, &out, nil); err != nil {
		return fmt.Errorf("read: %w", err)
	}
	if seq, err := crash.Inspect(out.Data, uint32(h.guid[15]), 0); err != nil || seq != n {
		return fmt.Errorf("shows write %d, %v", seq, err)
	}
	if err := f.shut(); err != nil {
		return err
	}
	for _, gone := range []string{name, final} {
		if err := h.open(exclusive(gone, smb2.DispositionOpen, 0)); err != ntstatus.ObjectNameNotFound {
			return fmt.Errorf("%s after its removal: %v", gone, err)
		}
	}
	return nil
}

// spared repeats what a full disk refuses.
func spared(fn func() error) error {
	for {
		err := fn()
		if err != ntstatus.DiskFull {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func renameTo(name string) []byte {
	text := dtyp.EncodeUTF16(name)
	b := make([]byte, 20, 24+len(text))
	b[16], b[17] = byte(len(text)), byte(len(text)>>8)
	b = append(b, text...)
	for len(b) < 24 {
		b = append(b, 0)
	}
	return b
}

// guard takes and gives up byte-range locks on one handle, with lock sequences, and looks
// from another handle what is locked.
func guard(h *host, rng *rand.Rand, stop <-chan struct{}) {
	name := h.name + ".lock"
	f := &handle{name: name, guid: dtyp.NewGUID(), persistent: true, request: func() *smb2.CreateRequest { return client.OpenFile(name) }}
	if err := h.open(f); err != nil {
		h.rig.violation("%s: %v", name, err)
		return
	}
	var numbers [65]uint32 // LockSequenceNumber by LockSequenceIndex
	lock := func(at uint64, flags smb2.LockFlags) error {
		index := 1 + uint32(rng.IntN(64))
		numbers[index] = (numbers[index] + 1) & 15
		sequence := index<<4 | numbers[index]
		return f.call(func(id smb2.FileID) smb2.Message {
			return &smb2.LockRequest{FileID: id, LockSequence: sequence, Locks: []smb2.LockElement{{Offset: at, Length: 1, Flags: flags}}}
		}, nil, nil)
	}
	for at := uint64(1); ; at++ {
		select {
		case <-stop:
			return
		default:
		}
		for _, step := range []struct {
			flags smb2.LockFlags
			seen  ntstatus.Status
		}{
			{smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately, ntstatus.LockNotGranted},
			{smb2.LockFlagUnlock, ntstatus.Success},
		} {
			if err := lock(at, step.flags); err != nil {
				if err != errGone {
					h.rig.violation("%s: lock %d, flags %x: %v", h.name, at, step.flags, err)
				}
				return
			}
			if seen, ok := probe(h, name, at); ok && seen != step.seen {
				h.rig.violation("%s: after lock %d, flags %x, another open gets %v", h.name, at, step.flags, seen)
			}
		}
		h.rig.count("locks taken and given up")
		time.Sleep(time.Duration(rng.IntN(20)) * time.Millisecond)
	}
}

// probe tries a lock from a handle that lives no longer than its session.
func probe(h *host, name string, at uint64) (ntstatus.Status, bool) {
	f := &handle{name: name, request: func() *smb2.CreateRequest { return client.OpenFile(name) }}
	if h.open(f) != nil {
		return 0, false
	}
	err := f.call(func(id smb2.FileID) smb2.Message {
		return &smb2.LockRequest{FileID: id, LockSequence: 1<<4 | 1, Locks: []smb2.LockElement{{Offset: at, Length: 1,
			Flags: smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately}}}
	}, nil, nil)
	status, ok := client.Status(err)
	if f.shut() != nil {
		ok = false
	}
	return status, ok
}

// visit reads a block of a disk as a backup does, which breaks the lease of the host that
// has it; that asks for its lease again.
func visit(h *host, d *disk, at int) {
	f := &handle{name: d.name(), request: func() *smb2.CreateRequest {
		m := client.OpenFile(d.name())
		m.DesiredAccess, m.CreateDisposition = dtyp.FileGenericRead, smb2.DispositionOpen
		m.CreateOptions |= smb2.OptionOpenForBackupIntent
		return m
	}}
	if err := h.open(f); err != nil {
		if err != errGone {
			h.rig.violation("%s visits %s: %v", h.name, d.name(), err)
		}
		return
	}
	d.mu.Lock()
	d.claim(at, 1)
	d.mu.Unlock()
	var out smb2.ReadResponse
	err := f.call(func(id smb2.FileID) smb2.Message {
		return &smb2.ReadRequest{FileID: id, Offset: uint64(at * blockSize), Length: blockSize}
	}, &out, nil)
	d.mu.Lock()
	if err == nil {
		d.compare(f, at, out.Data)
		h.rig.count("visits")
	}
	d.release(at, 1)
	d.mu.Unlock()
	d.freed.Broadcast()
	if err := f.shut(); err != nil {
		h.rig.violation("%v", err)
	}
	// The same key on a second open raises the lease of the first.
	owner, _ := d.current()
	owner.host.mu.Lock()
	lease := *owner.lease
	owner.host.mu.Unlock()
	again := &handle{name: d.name(), lease: &lease, request: func() *smb2.CreateRequest { return client.OpenFile(d.name()) }}
	if err := owner.host.open(again); err == nil {
		_ = again.shut()
	}
}

// fill writes a file until the volume is full, and removes it.
func fill(h *host) {
	f := &handle{name: "filler", guid: dtyp.NewGUID(), persistent: true, request: func() *smb2.CreateRequest {
		m := client.OpenFile("filler")
		m.CreateOptions |= smb2.OptionDeleteOnClose
		return m
	}}
	err := h.open(f)
	p := make([]byte, 1<<20)
	for i := 0; err == nil && i < 1<<12; i++ {
		rand.NewChaCha8([32]byte{byte(i), byte(i >> 8)}).Read(p)
		err = f.call(func(id smb2.FileID) smb2.Message {
			return &smb2.WriteRequest{FileID: id, Offset: uint64(i) << 20, Data: p}
		}, nil, nil)
	}
	if err == ntstatus.DiskFull {
		h.rig.count("times the disk was full")
		time.Sleep(100 * time.Millisecond) // so that others meet it
	} else if err != errGone {
		h.rig.violation("filling the disk: %v", err)
	}
	if err := f.shut(); err != nil {
		h.rig.violation("%v", err)
	}
}
