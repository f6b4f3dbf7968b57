package server_test

import (
	"fmt"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// channels is a session on two channels. The client gives the first up, with what it has sent
// there, but the server does not hear of that: requests still come in on it.
type channels struct {
	t           *testing.T
	given, used *client.Tree
}

func (a *array) channels() *channels {
	a.t.Helper()
	tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "ca")
	s, err := a.dial(client.Negotiation{ClientGUID: hostGUID}).Bind(tree.Session, client.NTLM(credentials("ann")))
	if err != nil {
		a.t.Fatal(err)
	}
	return &channels{a.t, tree, tree.On(s)}
}

// late sends m as it was sent before the first channel was given up.
func (c *channels) late(m smb2.Message) *client.Pending { return c.start(c.given, m, 1, 0) }

// replay sends m again on the second channel.
func (c *channels) replay(m smb2.Message) *client.Pending {
	return c.start(c.used, m, 2, smb2.FlagReplayOperation)
}

func (c *channels) start(tree *client.Tree, m smb2.Message, sequence uint16, flags smb2.HeaderFlags) *client.Pending {
	c.t.Helper()
	r := tree.Request(m)
	r.Header.ChannelSequence = sequence
	r.Header.Flags |= flags
	p, err := tree.Session.Conn.Start(r)
	if err != nil {
		c.t.Fatal(err)
	}
	return p
}

func outcome(p *client.Pending) error {
	r, err := p.Wait()
	if err == nil && r.Status() != ntstatus.Success {
		err = r.Status()
	}
	return err
}

func lockOf(f *client.File, sequence uint32, flags smb2.LockFlags) *smb2.LockRequest {
	return &smb2.LockRequest{FileID: f.ID, LockSequence: sequence, Locks: []smb2.LockElement{{Length: 10, Flags: flags}}}
}

const (
	shared    = smb2.LockFlagSharedLock | smb2.LockFlagFailImmediately
	exclusive = smb2.LockFlagExclusiveLock | smb2.LockFlagFailImmediately
)

// A LOCK of a channel that was given up does not lock again what its replay locked and what was
// unlocked since, and an UNLOCK does not unlock what was locked since; with lock sequences and
// without.
func TestLateLockDoesNotLand(t *testing.T) {
	a := newArray(t)
	c := a.channels()
	f := open(t, c.used, persistent(client.OpenFile("f"), dtyp.GUID{1}))
	other := open(t, a.connect(client.Negotiation{}, "bob", "ca"), client.OpenFile("f"))
	free := func() bool {
		e := smb2.LockElement{Length: 10, Flags: exclusive}
		if other.Lock(e) != nil {
			return false
		}
		e.Flags = smb2.LockFlagUnlock
		want(t, "unlock", other.Lock(e), ntstatus.Success)
		return true
	}
	word := func(bucket, number uint32) uint32 { return bucket<<4 | number }
	for _, first := range []uint32{word(1, 0), word(64, 15), word(65, 2), 0} {
		next := first + 1
		if first&15 == 15 {
			next = first &^ 15
		}
		if first == 0 {
			next = 0
		}
		name := fmt.Sprintf("sequence %#x: ", first)
		sequenced := first>>4 >= 1 && first>>4 <= 64
		refused := ntstatus.FileNotAvailable
		if sequenced {
			refused = ntstatus.Success // it is known to be done
		}
		want(t, name+"replayed lock", outcome(c.replay(lockOf(f, first, shared))), ntstatus.Success)
		want(t, name+"late lock", outcome(c.late(lockOf(f, first, shared))), refused)
		want(t, name+"unlock", outcome(c.replay(lockOf(f, next, smb2.LockFlagUnlock))), ntstatus.Success)
		if !free() {
			t.Error(name + "locked twice")
		}
		want(t, name+"late lock", outcome(c.late(lockOf(f, first, shared))), ntstatus.FileNotAvailable)
		if !free() {
			t.Error(name + "a late lock is held")
		}
		if sequenced {
			want(t, name+"replayed unlock", outcome(c.replay(lockOf(f, next, smb2.LockFlagUnlock))), ntstatus.Success)
		}
		want(t, name+"lock", outcome(c.replay(lockOf(f, first, shared))), ntstatus.Success)
		want(t, name+"late unlock", outcome(c.late(lockOf(f, next, smb2.LockFlagUnlock))), ntstatus.FileNotAvailable)
		if free() {
			t.Error(name + "a late unlock has unlocked")
		}
		want(t, name+"unlock", outcome(c.replay(lockOf(f, next, smb2.LockFlagUnlock))), ntstatus.Success)
	}
}

// A LOCK that waits on a channel that was given up is not begun again by its replay.
func TestReplayOfWaitingLock(t *testing.T) {
	a := newArray(t)
	c := a.channels()
	f := open(t, c.used, persistent(client.OpenFile("f"), dtyp.GUID{1}))
	other := open(t, a.connect(client.Negotiation{}, "bob", "ca"), client.OpenFile("f"))
	e := smb2.LockElement{Length: 10, Flags: exclusive}
	want(t, "another's lock", other.Lock(e), ntstatus.Success)
	const sequence = 3<<4 | 7
	waiting := c.late(lockOf(f, sequence, smb2.LockFlagSharedLock))
	if _, final, err := waiting.Interim(); final || err != nil {
		t.Fatal("no interim response", err)
	}
	want(t, "replay while it waits", outcome(c.replay(lockOf(f, sequence, smb2.LockFlagSharedLock))), ntstatus.FileNotAvailable)
	e.Flags = smb2.LockFlagUnlock
	want(t, "unlock", other.Lock(e), ntstatus.Success)
	want(t, "when it is free", outcome(waiting), ntstatus.Success)
	want(t, "replay afterwards", outcome(c.replay(lockOf(f, sequence, smb2.LockFlagSharedLock))), ntstatus.Success)
	want(t, "unlock", outcome(c.replay(lockOf(f, sequence+1, smb2.LockFlagUnlock))), ntstatus.Success)
	want(t, "once was enough", outcome(c.replay(lockOf(f, sequence+2, smb2.LockFlagUnlock))), ntstatus.RangeNotLocked)
}

// A CREATE of a channel that was given up does not empty the file that its replay made, whether
// that is still open, or closed.
func TestLateCreateDoesNotLand(t *testing.T) {
	a := newArray(t)
	for i, closed := range []bool{false, true} {
		c := a.channels()
		name := fmt.Sprint("f", i)
		m := persistent(client.OpenFile(name), dtyp.GUID{1, byte(i)})
		m.CreateDisposition = smb2.DispositionOverwriteIf
		f, err := c.replay(m).File()
		want(t, "replay", err, ntstatus.Success)
		if err != nil {
			return
		}
		w := &smb2.WriteRequest{FileID: f.ID, Data: []byte("data")}
		want(t, "write", outcome(c.start(c.used, w, 2, 0)), ntstatus.Success)
		if closed {
			want(t, "close", outcome(c.start(c.used, &smb2.CloseRequest{FileID: f.ID}, 2, 0)), ntstatus.Success)
		}
		want(t, "late create", outcome(c.late(m)), ntstatus.FileNotAvailable)
		g := open(t, a.connect(client.Negotiation{}, "bob", "ca"), client.OpenFile(name))
		p := make([]byte, 4)
		if _, err := g.ReadAt(p, 0); err != nil || string(p) != "data" {
			t.Errorf("closed %v: a late CREATE emptied the file: %q, %v", closed, p, err)
		}
	}
}

// A CREATE of a channel that was given up takes no disk away from the host that has it now.
func TestLateCreateEvictsNobody(t *testing.T) {
	a := newArray(t)
	c := a.channels()
	with := func(guid byte) *smb2.CreateRequest {
		return client.WithContext(persistent(client.OpenFile("f"), dtyp.GUID{guid}), smb2.ContextAppInstanceID, &smb2.AppInstanceID{ID: dtyp.GUID{77}})
	}
	f, err := c.replay(with(1)).File()
	want(t, "replay", err, ntstatus.Success)
	if err != nil {
		return
	}
	there := open(t, a.connect(client.Negotiation{ClientGUID: dtyp.GUID{2}}, "ann", "ca"), with(2))
	want(t, "the disk has moved", outcome(c.start(c.used, &smb2.CloseRequest{FileID: f.ID}, 2, 0)), ntstatus.FileClosed)
	want(t, "late create", outcome(c.late(with(1))), ntstatus.FileNotAvailable)
	_, err = there.WriteAt([]byte("data"), 0)
	want(t, "write where it is", err, ntstatus.Success)
}

// A CREATE and its replay that are carried out at the same time make one open and one file.
func TestCreateAndReplayAtOnce(t *testing.T) {
	a := newArray(t)
	c := a.channels()
	for i := range 300 {
		m := persistent(client.OpenFile(fmt.Sprint("f", i)), dtyp.GUID{1, byte(i), byte(i >> 8)})
		m.CreateDisposition, m.ShareAccess = smb2.DispositionCreate, 0
		first, second := c.late(m), c.replay(m)
		f, err := second.File()
		for status, _ := client.Status(err); status == ntstatus.FileNotAvailable; status, _ = client.Status(err) {
			f, err = c.replay(m).File()
		}
		want(t, fmt.Sprint("replay ", i), err, ntstatus.Success)
		if err != nil {
			return
		}
		// The first one had the same answer, or came too late for one.
		if g, err := first.File(); err == nil && g.ID != f.ID {
			t.Errorf("%d: two opens, %v and %v", i, g.ID, f.ID)
		}
		want(t, "close", outcome(c.start(c.used, &smb2.CloseRequest{FileID: f.ID}, 2, 0)), ntstatus.Success)
	}
}

// An acknowledgement of a channel that was given up is not taken for that of a break which came
// afterwards: what waits for that one would not see what the client still has in its cache. It is taken
// if it is of the break that there is.
func TestLateLeaseAcknowledgement(t *testing.T) {
	a := newArray(t)
	c := a.channels()
	key, all := smb2.LeaseKey{1}, smb2.LeaseReadCaching|smb2.LeaseHandleCaching|smb2.LeaseWriteCaching
	leased := func(guid byte) *smb2.CreateRequest {
		return client.WithLease(persistent(client.OpenFile("f"), dtyp.GUID{guid}), smb2.Lease{V2: true, Key: key, State: all})
	}
	ack := &smb2.LeaseBreak{LeaseKey: key, LeaseState: smb2.LeaseReadCaching | smb2.LeaseHandleCaching}
	bob := a.connect(client.Negotiation{}, "bob", "ca")
	broken := func() *client.Pending {
		t.Helper()
		p, err := bob.Start(client.OpenFile("f"))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := c.given.Session.Conn.Break(); err != nil {
			t.Fatal(err)
		} else if m, err := b.LeaseBreak(); err != nil || m.LeaseKey != key {
			t.Fatalf("%+v, %v", m, err)
		}
		return p
	}
	opened := func(what string, p *client.Pending) *client.File {
		t.Helper()
		f, err := p.File()
		want(t, what, err, ntstatus.Success)
		if err != nil {
			t.FailNow()
		}
		return f
	}
	opened("with a lease", c.start(c.given, leased(1), 1, 0))

	first := broken()
	want(t, "acknowledged again", outcome(c.start(c.used, ack, 2, 0)), ntstatus.Success)
	want(t, "close", opened("the first that waited", first).Close(), ntstatus.Success)
	want(t, "late, of a break that is over", outcome(c.late(ack)), ntstatus.Unsuccessful)
	opened("all of the lease again", c.start(c.used, leased(2), 2, 0))

	second := broken()
	want(t, "late, of the break before", outcome(c.late(ack)), ntstatus.FileNotAvailable)
	want(t, "of this one", outcome(c.start(c.used, ack, 2, 0)), ntstatus.Success)
	want(t, "close", opened("the second that waited", second).Close(), ntstatus.Success)
	opened("all of the lease again", c.start(c.used, leased(3), 2, 0))

	third := broken()
	echo := c.start(c.used, &smb2.FlushRequest{FileID: opened("on a newer channel", c.start(c.used, client.OpenFile("g"), 3, 0)).ID}, 3, 0)
	want(t, "flush", outcome(echo), ntstatus.Success)
	want(t, "of this one, on the channel given up since", outcome(c.start(c.given, ack, 2, 0)), ntstatus.Success)
	opened("the third that waited", third)
}

// An oplock has one break to acknowledge: no other can be meant by what comes late.
func TestLateOplockAcknowledgement(t *testing.T) {
	a := newArray(t)
	c := a.channels()
	f := open(t, c.given, durable("f", smb2.OplockLevelBatch))
	p, err := a.connect(client.Negotiation{}, "bob", "ca").Start(client.OpenFile("f"))
	if err != nil {
		t.Fatal(err)
	}
	told(t, f, c.given)
	ack := &smb2.OplockBreak{OplockLevel: smb2.OplockLevelII, FileID: f.ID}
	want(t, "acknowledged", outcome(c.start(c.used, ack, 2, 0)), ntstatus.Success)
	other, err := p.File()
	want(t, "the open that waited", err, ntstatus.Success)
	want(t, "late", outcome(c.late(ack)), ntstatus.InvalidOplockProtocol)
	_, err = other.WriteAt([]byte("x"), 0)
	want(t, "level II is broken", err, ntstatus.Success)
	told(t, f, c.given)
	want(t, "late", outcome(c.late(ack)), ntstatus.InvalidOplockProtocol)
}
