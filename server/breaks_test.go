package server_test

import (
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// fsctlUnacknowledged makes a connection look dead to the server, see test_mode.go.
const fsctlUnacknowledged = 0x83848003

// bound adds a channel to a tree's session.
func (a *array) bound(tree *client.Tree, user string) *client.Tree {
	a.t.Helper()
	s, err := a.dial(client.Negotiation{ClientGUID: tree.Session.Conn.ClientGUID}).Bind(tree.Session, client.NTLM(credentials(user)))
	if err != nil {
		a.t.Fatal(err)
	}
	return tree.On(s)
}

// A break that does not get through on one channel goes out on another.
func TestBreakFallsBackToAnotherChannel(t *testing.T) {
	for _, test := range []struct {
		name   string
		create *smb2.CreateRequest
	}{
		{"oplock", durable("f", smb2.OplockLevelBatch)},
		{"lease", client.WithLease(client.OpenFile("f"), smb2.Lease{V2: true, Key: smb2.LeaseKey{1}, State: smb2.LeaseReadCaching | smb2.LeaseHandleCaching | smb2.LeaseWriteCaching})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := newArray(t)
			first := a.connect(client.Negotiation{}, "bob", "vms")
			second := a.bound(first, "bob")
			held := open(t, first, test.create)
			if _, err := first.Ioctl(fsctlUnacknowledged, nil, 0); err != nil {
				t.Fatal(err)
			}
			p, err := a.connect(client.Negotiation{}, "ann", "vms").Start(client.OpenFile("f"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := second.Session.Conn.Break(); err != nil {
				t.Fatal("second channel: ", err)
			}
			<-first.Session.Conn.Done()
			held.Tree = second
			want(t, "close on the second channel", held.Close(), ntstatus.Success)
			_, err = p.File()
			want(t, "the open that waited", err, ntstatus.Success)
		})
	}
}

// What the client has acknowledged is not told again on another channel, though the one it was told on is
// given up: the next that arrives there is the next break.
func TestAcknowledgedBreakIsNotTold(t *testing.T) {
	a := newArray(t)
	first := a.connect(client.Negotiation{}, "bob", "vms")
	second := a.bound(first, "bob")
	ann := a.connect(client.Negotiation{}, "ann", "vms")
	f := open(t, first, durable("f", smb2.OplockLevelBatch))
	if _, err := first.Ioctl(fsctlUnacknowledged, nil, 0); err != nil {
		t.Fatal(err)
	}
	p, err := ann.Start(client.OpenFile("f"))
	if err != nil {
		t.Fatal(err)
	}
	told(t, f, first)
	if _, err := f.AcknowledgeOplock(smb2.OplockLevelII); err != nil {
		t.Fatal(err)
	}
	_, err = p.File()
	want(t, "the open of what was acknowledged", err, ntstatus.Success)
	<-first.Session.Conn.Done()
	f.Tree = second
	g := open(t, second, durable("g", smb2.OplockLevelBatch))
	if p, err = ann.Start(client.OpenFile("g")); err != nil {
		t.Fatal(err)
	}
	told(t, g, second)
	want(t, "close", g.Close(), ntstatus.Success)
	_, err = p.File()
	want(t, "the open that waited", err, ntstatus.Success)
	want(t, "close of what was acknowledged", f.Close(), ntstatus.Success)
}

// An oplock break that was lost with its connection is told to the client of a persistent open that comes
// back, whether the server learns of the loss before that or after: it is told that it has the oplock still.
func TestLostOplockBreakIsToldOnReturn(t *testing.T) {
	for _, name := range []string{"back first", "loss first"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := newArray(t)
			guid := dtyp.GUID{9}
			first := a.connect(client.Negotiation{ClientGUID: hostGUID}, "bob", "ca")
			f := open(t, first, persistent(durable("f", smb2.OplockLevelBatch), guid))
			if _, err := first.Ioctl(fsctlUnacknowledged, nil, 0); err != nil {
				t.Fatal(err)
			}
			p, err := a.connect(client.Negotiation{}, "ann", "ca").Start(client.OpenFile("f"))
			if err != nil {
				t.Fatal(err)
			}
			told(t, f, first)
			if name == "loss first" {
				<-first.Session.Conn.Done()
			} else {
				first.Session.Conn.Close()
			}
			second := a.connect(client.Negotiation{ClientGUID: hostGUID}, "bob", "ca")
			m := reconnectV2("f", f.ID, guid, smb2.DurableFlagPersistent)
			m.RequestedOplockLevel = smb2.OplockLevelBatch
			again, err := second.Create(m)
			for s, _ := client.Status(err); s == ntstatus.ObjectNameNotFound || s == ntstatus.FileNotAvailable; s, _ = client.Status(err) {
				again, err = second.Create(m) // the loss of the session is not over
			}
			want(t, "reconnect", err, ntstatus.Success)
			if err != nil {
				return
			}
			if again.Response.OplockLevel != smb2.OplockLevelBatch {
				t.Errorf("comes back to %v", again.Response.OplockLevel)
			}
			told(t, again, second)
			_, err = again.AcknowledgeOplock(smb2.OplockLevelII)
			want(t, "acknowledged", err, ntstatus.Success)
			_, err = p.File()
			want(t, "the open that waited", err, ntstatus.Success)
		})
	}
}

// told wants the next break on a tree's connection to be of the file's oplock.
func told(t *testing.T, f *client.File, on *client.Tree) {
	t.Helper()
	r, err := on.Session.Conn.Break()
	if err != nil {
		t.Fatal(err)
	}
	if m, err := r.OplockBreak(); err != nil || m.FileID != f.ID {
		t.Fatalf("break %+v, %v, want one of %v", m, err, f.ID)
	}
}
