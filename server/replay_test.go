package server_test

import (
	"fmt"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// A CREATE takes effect once, at whatever point of it the session is lost: its replay on
// the next session finds what it made, and what it marked for deletion is still there.
func TestLostCreateTakesEffectOnce(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "ca")
	for i := range 60 {
		name := fmt.Sprint("f", i)
		m := client.OpenFile(name)
		m.CreateDisposition, m.ShareAccess = smb2.DispositionCreate, 0
		if i%2 == 0 {
			want(t, "close", open(t, tree, client.OpenFile(name)).Close(), ntstatus.Success)
			m.CreateDisposition = smb2.DispositionOpen
			m.CreateOptions |= smb2.OptionDeleteOnClose
		}
		create := func(replay bool) *client.Pending {
			r := tree.Request(persistent(m, dtyp.GUID{1, byte(i)}))
			if replay {
				r.Header.Flags |= smb2.FlagReplayOperation
			}
			p, err := tree.Session.Conn.Start(r)
			if err != nil {
				t.Fatal(err)
			}
			return p
		}
		create(false)
		for range i % 7 {
			if _, err := tree.Session.Conn.Start(&client.Request{Body: &smb2.Empty{Of: smb2.CommandEcho}}); err != nil {
				t.Fatal(err)
			}
		}
		tree = a.reconnecting(tree, "ann", "ca")
		for {
			f, err := create(true).File()
			if status, _ := client.Status(err); status == ntstatus.FileNotAvailable {
				continue // it is still being carried out
			}
			want(t, fmt.Sprintf("replay %d", i), err, ntstatus.Success)
			if err == nil {
				want(t, "close", f.Close(), ntstatus.Success)
			}
			break
		}
	}
}

// The same when the power is lost at any instant: file and record are there together or not at all.
func TestCreateCutShortByPowerLoss(t *testing.T) {
	a := newLife(t, nil)
	for i := range 24 {
		ann := a.host(hostGUID, "ann")
		m := client.OpenFile(fmt.Sprint("f", i))
		m.CreateDisposition, m.ShareAccess = smb2.DispositionCreate, 0
		guid := dtyp.GUID{1, byte(i)}
		p, err := ann.Start(persistent(m, guid))
		if err != nil {
			t.Fatal(err)
		}
		for range i % 8 { // the power goes at different instants of the CREATE
			_ = ann.Session.Conn.Echo()
		}
		answered := p.Finished()
		a = a.next()
		ann = a.host(hostGUID, "ann")
		r := ann.Request(persistent(m, guid))
		r.Header.Flags |= smb2.FlagReplayOperation
		if p, err = ann.Session.Conn.Start(r); err != nil {
			t.Fatal(err)
		}
		f, err := p.File()
		want(t, fmt.Sprintf("replay %d, answered before %v", i, answered), err, ntstatus.Success)
		if err == nil {
			if f.Response.CreateAction != smb2.ActionCreated {
				t.Errorf("replay %d: %v", i, f.Response.CreateAction)
			}
			want(t, "close", f.Close(), ntstatus.Success)
		}
	}
}

// A session that is still ending, because requests of it are under way, is waited for by the one
// that takes its place: what it had can be reclaimed then.
func TestReclaimWaitsForTheLostSession(t *testing.T) {
	a := newArray(t)
	tree := a.connect(client.Negotiation{ClientGUID: hostGUID}, "ann", "ca")
	guid := dtyp.GUID{9}
	f := open(t, tree, persistent(client.OpenFile("f"), guid))
	p := make([]byte, 1<<20)
	for i := range 40 {
		for range 4 { // unanswered when the connection is lost
			if _, err := tree.Start(&smb2.WriteRequest{FileID: f.ID, Data: p}); err != nil {
				t.Fatal(err)
			}
		}
		tree = a.reconnecting(tree, "ann", "ca")
		got, err := tree.Create(reconnectV2("f", f.ID, guid, smb2.DurableFlagPersistent))
		want(t, fmt.Sprint("reclaim ", i), err, ntstatus.Success)
		if err != nil {
			return
		}
		f = got
	}
}
