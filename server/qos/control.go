package qos

import (
	"errors"
	"time"

	"gabion/protocol/ntstatus"
	"gabion/protocol/sqos"
)

// The times to live that hosts are told.
const (
	ttlSteady = 4000 * time.Millisecond
	ttlShared = 2000 * time.Millisecond // what others of the class leave can change at any time
	ttlMoving = 1500 * time.Millisecond
	// movingFor is how long after a change hosts are asked to come back sooner.
	movingFor = 4 * time.Second
)

// Control answers FSCTL_STORAGE_QOS_CONTROL on an open ([MS-SQOS] 3.2.5.1). room is how long
// the response may be. changed reports that the association or its policy is another one now,
// to be remembered with a persistent open.
func (b *Binding) Control(input []byte, room int) (output []byte, changed bool, status ntstatus.Status) {
	var req sqos.Request
	switch err := req.Decode(input); {
	case errors.Is(err, sqos.ErrRevision):
		return nil, false, ntstatus.RevisionMismatch
	case err != nil:
		return nil, false, ntstatus.InvalidParameter
	}
	if req.Options&sqos.AllOptions == 0 {
		return nil, false, ntstatus.InvalidParameter
	}
	c := control{b: b, req: &req, room: room}
	b.service.mu.Lock()
	defer b.service.mu.Unlock()
	if b.ended {
		return nil, false, ntstatus.FileClosed
	}
	if status := c.validate(input); status != ntstatus.Success {
		return nil, false, status
	}
	return c.carryOut()
}

// control is one request that is being looked at, with Service.mu held.
type control struct {
	b          *Binding
	req        *sqos.Request
	room       int
	name, node string
}

func (c *control) has(o sqos.Options) bool { return c.req.Options&o != 0 }

// validate makes every check before anything is changed, so that a request that fails leaves
// no trace. The order is the specification's but for the names, which Windows looks at
// before the association.
func (c *control) validate(input []byte) ntstatus.Status {
	req := c.req
	bound := c.b.associated() != nil
	if bound {
		req.Options &^= sqos.ProbePolicy
	}
	if c.has(sqos.SetPolicy | sqos.ProbePolicy) {
		var err error
		if c.name, c.node, err = req.Names(input); err != nil || !validNumbers(req) {
			return ntstatus.InvalidParameter
		}
	}
	// 3.2.5.1.1
	if req.FlowID.IsZero() {
		if c.has(sqos.ProbePolicy) {
			return ntstatus.InvalidParameter
		}
		if c.has(sqos.SetLogicalFlowID) {
			bound = false
		}
	} else if c.has(sqos.SetLogicalFlowID | sqos.ProbePolicy) {
		bound = true
	}
	switch {
	// 3.2.5.1.4: before the association. Deviation: it says 80 bytes, which no response has.
	case c.has(sqos.GetStatus) && c.room < req.Version.ResponseSize():
		return ntstatus.InvalidParameter
	case !bound && c.has(sqos.SetPolicy|sqos.UpdateCounters|sqos.GetStatus):
		return ntstatus.NotFound
	case bound && c.b.associated() == nil && len(c.b.service.flows) >= maxFlows:
		return ntstatus.InsufficientResources
	}
	return ntstatus.Success
}

// maxFlows bounds what hosts can make the array remember.
const maxFlows = 1 << 20

// validNumbers are Windows' conditions: [MS-SQOS] note 8.
func validNumbers(r *sqos.Request) bool {
	inline := r.Limit > 0 || r.Reservation > 0 || r.BandwidthLimit > 0
	switch {
	case r.Limit > maxNumber, r.Reservation > maxNumber, r.BandwidthLimit > maxNumber:
		return false
	case r.Limit > 0 && r.Reservation > r.Limit:
		return false
	case inline && !r.PolicyID.IsZero():
		return false
	}
	return true
}

// carryOut does what was found valid.
func (c *control) carryOut() (output []byte, changed bool, status ntstatus.Status) {
	s, req := c.b.service, c.req
	if c.has(sqos.SetLogicalFlowID | sqos.ProbePolicy) {
		changed = true
		if req.FlowID.IsZero() {
			s.dissociate(c.b)
		} else {
			s.associate(c.b, flowKey{owner: c.b.owner, id: req.FlowID})
		}
	}
	f := c.b.associated()
	if f == nil {
		return nil, changed, ntstatus.Success
	}
	f.polled = s.e.clock()
	if c.has(sqos.SetPolicy | sqos.ProbePolicy) {
		changed = true
		c.setPolicy(f)
	}
	if c.has(sqos.UpdateCounters) {
		h := &f.host
		h.Count += req.IoCountIncrement
		h.Normalized += req.NormalizedIoCountIncrement
		h.Latency += req.LatencyIncrement
		h.LowerLatency += req.LowerLatencyIncrement
		h.Kilobytes += req.KilobyteCountIncrement
		f.load.report(req)
	}
	if !c.has(sqos.GetStatus) {
		return nil, changed, ntstatus.Success
	}
	f.told = f.share
	r := sqos.Response{
		Version: req.Version, FlowID: f.ID, PolicyID: f.Policy, InitiatorID: f.Initiator,
		TimeToLive: uint32(s.ttl(f) / time.Millisecond), Status: f.status,
		MaximumIoRate: f.share.Maximum, MinimumIoRate: f.share.Minimum,
		BaseIoSize: uint32(s.base), MaximumBandwidth: f.share.Bandwidth,
	}
	return r.AppendTo(make([]byte, 0, req.Version.ResponseSize())), changed, ntstatus.Success
}

// setPolicy is the last part of 3.2.5.1.2.
func (c *control) setPolicy(f *Flow) {
	req := c.req
	if c.name != "" {
		f.Name = c.name
	}
	if c.node != "" {
		f.Node = c.node
	}
	inline := Numbers{Minimum: req.Reservation, Maximum: req.Limit, Bandwidth: req.BandwidthLimit}
	f.Policy, f.Initiator, f.Inline = req.PolicyID, req.InitiatorID, inline
	c.b.service.classify(f)
}

// ttl is how long what a host is told is likely to hold.
func (s *Service) ttl(f *Flow) time.Duration {
	switch {
	case f.changed > 0 && s.e.clock()-f.changed < int64(movingFor):
		return ttlMoving
	case f.class.limited() && len(f.class.flows) > 1:
		return ttlShared
	}
	return ttlSteady
}
