package object

import (
	"slices"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// Durable is what makes an open outlive its connection ([MS-SMB2] 3.3.5.9.6 to 3.3.5.9.12, 3.3.5.15.9).
type Durable struct {
	Kind       DurableKind
	CreateGUID dtyp.GUID
	Owner      string // SID of who may reconnect
	Timeout    time.Duration
}

// DurableKind tells the kinds apart; later ones keep more.
type DurableKind uint8

// The kinds.
const (
	NotDurable DurableKind = iota
	DurableV1
	DurableV2
	Resilient
	Persistent
)

func (k DurableKind) String() string {
	return [...]string{"", "durable", "durable v2", "resilient", "persistent"}[k]
}

// SetDurable records how the open survives a disconnect. Whether it may be
// granted is the server's decision.
func (o *Open) SetDurable(d Durable) {
	f := o.file
	f.mu.Lock()
	old := o.durable
	o.durable = d
	f.mu.Unlock()
	fs := f.vol.fs
	fs.openMu.Lock()
	defer fs.openMu.Unlock()
	if !old.CreateGUID.IsZero() && fs.durable[old.CreateGUID] == o {
		delete(fs.durable, old.CreateGUID)
	}
	if !d.CreateGUID.IsZero() && !o.closed.Load() {
		fs.durable[d.CreateGUID] = o
	}
}

// Durable returns what SetDurable recorded.
func (o *Open) Durable() Durable {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return o.durable
}

// Disconnect detaches the open from its session. It returns false, having closed the open,
// when nothing keeps it: neither persistent nor resilient nor durable with a batch oplock or an H
// lease ([MS-SMB2] 3.3.7.1). A kept open waits for Reconnect until its timeout.
func (o *Open) Disconnect() (kept bool) {
	var l later
	defer l.run()
	f := o.file
	f.mu.Lock()
	if o.closed.Load() {
		f.mu.Unlock()
		return false
	}
	if !o.worthKeeping() {
		f.mu.Unlock()
		o.Close()
		return false
	}
	o.away = true
	if g := o.grantOf(); g != nil {
		g.awaitReturn(&l)
	}
	o.startScavenger()
	f.mu.Unlock()
	return true
}

// worthKeeping is the condition of [MS-SMB2] 3.3.7.1. Caller holds File.mu.
func (o *Open) worthKeeping() bool {
	switch o.durable.Kind {
	case Persistent, Resilient:
		return true
	case DurableV1, DurableV2:
		g := o.grantOf()
		return g != nil && !g.state.Breaking && g.state.Held&CacheHandle != 0
	}
	return false
}

// startScavenger closes the open when nobody reclaims it in time ([MS-SMB2]
// 3.3.6.2, 3.3.6.4). Caller holds File.mu.
func (o *Open) startScavenger() {
	o.stopScavenger()
	round := o.scavengeRound
	o.scavenger = time.AfterFunc(o.durable.Timeout, func() {
		defer o.file.vol.fs.recovered()
		o.file.mu.Lock()
		mine := o.away && o.scavengeRound == round
		o.file.mu.Unlock()
		if mine {
			o.ForceClose()
		}
	})
}

func (o *Open) stopScavenger() {
	o.scavengeRound++
	if o.scavenger != nil {
		o.scavenger.Stop()
		o.scavenger = nil
	}
}

// Reconnect attaches a disconnected open again; false when it is attached or closed. Remind follows.
// The checks of [MS-SMB2] 3.3.5.9.7 and 3.3.5.9.12 are the server's, before.
func (o *Open) Reconnect(tag any) bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	if !o.away || o.closed.Load() {
		return false
	}
	o.away = false
	o.stopScavenger()
	o.SetTag(tag)
	if g := o.grantOf(); g != nil && g.unsent.Send {
		g.startTimer() // whoever waits has an end, should Remind not follow
	}
	return true
}

// Remind tells the open's client of a break that it could not be told of: it is back, and knows
// the open.
func (o *Open) Remind() {
	var l later
	defer l.run()
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	if g := o.grantOf(); g != nil && g.unsent.Send && g.connected() {
		n := g.unsent
		g.unsent = breakNotice{}
		g.send(n, &l)
	}
}

// Connected reports whether the open belongs to a session.
func (o *Open) Connected() bool {
	o.file.mu.Lock()
	defer o.file.mu.Unlock()
	return !o.away
}

// notReclaimable refuses a new open of a file on which a persistent open waits
// for its client ([MS-SMB2] 3.3.5.9).
func (e *opening) notReclaimable() ntstatus.Status {
	for _, s := range e.f.streams {
		for _, o := range s.opens {
			if o.away && o.durable.Kind == Persistent && !(o.shared && e.req.SharedDisk) {
				return ntstatus.FileNotAvailable
			}
		}
	}
	return ntstatus.Success
}

// register enters an open where it is looked up by AppInstanceId.
func (fs *FS) register(o *Open) {
	if o.appID.IsZero() {
		return
	}
	fs.openMu.Lock()
	fs.apps[o.appID] = append(fs.apps[o.appID], o)
	fs.openMu.Unlock()
}

// unregister undoes register and SetDurable.
func (fs *FS) unregister(o *Open) {
	if o.appID.IsZero() && o.durable.CreateGUID.IsZero() {
		return
	}
	fs.openMu.Lock()
	defer fs.openMu.Unlock()
	if fs.durable[o.durable.CreateGUID] == o {
		delete(fs.durable, o.durable.CreateGUID)
	}
	if list := slices.DeleteFunc(fs.apps[o.appID], func(x *Open) bool { return x == o }); len(list) > 0 {
		fs.apps[o.appID] = list
	} else {
		delete(fs.apps, o.appID)
	}
}

// FindCreateGUID finds an open by the CreateGuid SetDurable gave.
func (fs *FS) FindCreateGUID(g dtyp.GUID) *Open {
	fs.openMu.Lock()
	defer fs.openMu.Unlock()
	return fs.durable[g]
}

// FindAppInstance returns the opens with that AppInstanceId on the same path of the same share whose client
// is not client ([MS-SMB2] 3.3.5.9.13).
func (fs *FS) FindAppInstance(t *Tree, app dtyp.GUID, path string, client dtyp.GUID) []*Open {
	fs.openMu.Lock()
	list := slices.Clone(fs.apps[app])
	fs.openMu.Unlock()
	return slices.DeleteFunc(list, func(o *Open) bool {
		return o.client == client || !strings.EqualFold(o.tree.opt.Share, t.opt.Share) || !strings.EqualFold(o.Path(), path)
	})
}
