package object

import "gabion/protocol/dtyp"

// AbandonLease is what becomes of a breaking lease whose client cannot be told
// ([MS-SMB2] 3.3.4.7): its opens are closed, except those that survive more than that. For
// what is left the break ends with nothing held, unless a persistent open is among it: then
// it waits for the client's return.
//
// Deviation: durable opens are closed also where the lease would keep H. A break comes on
// the way of a disconnect here, and what is left must not depend on which is first: a
// disconnected open is closed instead of broken, and a disconnect during a break keeps none.
func (fs *FS) AbandonLease(client, key dtyp.GUID) {
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
		case kind == Resilient:
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
