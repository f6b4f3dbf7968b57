package object

import "gabion/protocol/dtyp"

// AbandonLease is what becomes of a breaking lease whose client cannot be told
// ([MS-SMB2] 3.3.4.7): its opens are closed, except durable ones that may keep H, and
// those that survive more than that. For what is left the break ends with nothing held,
// unless a persistent open is among it: then it waits for the client's return.
func (fs *FS) AbandonLease(client, key dtyp.GUID, to Caching) {
	fs.leaseMu.Lock()
	g := fs.leases[leaseID{client, key}]
	fs.leaseMu.Unlock()
	if g == nil {
		return
	}
	var lost []*Open
	left, persistent := false, false
	g.stream.file.mu.Lock()
	for _, o := range g.opens {
		switch kind := o.durable.Kind; {
		case kind == Persistent:
			persistent = true
		case kind == Resilient, kind != NotDurable && to&CacheHandle != 0:
			left = true
		default:
			lost = append(lost, o)
		}
	}
	g.stream.file.mu.Unlock()
	for _, o := range lost {
		o.ForceClose()
	}
	if left && !persistent {
		fs.AcknowledgeLease(client, key, 0)
	}
}
