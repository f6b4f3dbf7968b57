package rpc

import (
	"gabion/auth"
	"gabion/protocol/dcerpc"
	"gabion/protocol/lsarpc"
)

const (
	maxFragment = 5840    // Windows' fragment size on named pipes
	minFragment = 1432    // MustRecvFragSize (C706 12.6.3.1)
	maxStub     = 4 << 20 // largest request reassembled
	maxPresent  = 64      // presentation contexts of one association
)

// association is the server's side of one connection (C706 12.6.1): a pure state
// machine, fragment in, fragments out.
//
//	start ─bind─▶ bound ─(alter_context | request…)─▶ bound ─malformed─▶ dead
type association struct {
	pipe     string
	backend  Backend
	caller   Caller
	contexts map[uint16]*iface
	maxXmit  int
	bound    bool

	authenticator Authenticator // nil: callers are who the pipe's session says
	callerOf      func(t *auth.Token, from string) Caller
	security      security

	call *call // request being reassembled

	policies map[lsarpc.Handle]bool // context handles of the lsarpc interface
	shadows  ShadowCopies           // serves the FSRVP interface
}

// call is a request whose fragments are being collected.
type call struct {
	id      uint32
	context uint16
	opnum   uint16
	stub    dcerpc.Stub
}

// feed takes one whole fragment and returns the fragments to send, each one
// message of the pipe. ok is false when the association is beyond repair.
func (a *association) feed(frag []byte) (out [][]byte, ok bool) {
	f, err := dcerpc.DecodeFragment(frag)
	if err != nil {
		return nil, false
	}
	switch f.Type {
	case dcerpc.TypeBind:
		if a.bound {
			return nil, false
		}
		if f.Auth != nil && !a.security.begin(a.authenticator, &f) {
			nak := dcerpc.Fragment{Header: reply(dcerpc.TypeBindNak, f.CallID), Body: dcerpc.AppendBindNak(nil, dcerpc.NakAuthType)}
			return [][]byte{nak.AppendTo(nil)}, true
		}
		return a.bind(f, dcerpc.TypeBindAck)
	case dcerpc.TypeAlterContext:
		if !a.bound {
			return nil, false
		}
		return a.bind(f, dcerpc.TypeAlterResp)
	case dcerpc.TypeRequest:
		if !a.bound {
			return nil, false
		}
		return a.request(f, frag)
	case dcerpc.TypeAuth3:
		if f.Auth == nil || !a.bound {
			return nil, false
		}
		// There is no answer: a wrong token shows at the first request.
		_, who := a.security.step(f.Auth.Token)
		a.identify(who)
		return nil, true
	case dcerpc.TypeCoCancel, dcerpc.TypeOrphaned:
		a.call = nil
		return nil, true
	}
	return nil, false
}

// identify makes who the caller from now on.
func (a *association) identify(who *auth.Identity) {
	if who != nil {
		a.caller = a.callerOf(who.Token(), a.caller.From)
		if len(who.Delegated) > 0 {
			a.backend.Delegated(who, a.caller.From)
		}
	}
}

func reply(t dcerpc.PacketType, call uint32) dcerpc.Header {
	return dcerpc.Header{Type: t, Flags: dcerpc.FlagFirst | dcerpc.FlagLast, CallID: call}
}

func fault(call uint32, context uint16, status uint32) []byte {
	f := dcerpc.Fragment{Header: reply(dcerpc.TypeFault, call), Body: dcerpc.AppendFault(nil, context, status)}
	f.Flags |= dcerpc.FlagDidNotExecute
	return f.AppendTo(nil)
}

// bind answers bind and alter_context (C706 12.6.4.3, MS-RPCE 3.3.1.5.3).
func (a *association) bind(f dcerpc.Fragment, answer dcerpc.PacketType) ([][]byte, bool) {
	b, err := f.DecodeBind()
	if err != nil {
		return nil, false
	}
	if answer == dcerpc.TypeBindAck {
		a.maxXmit = min(max(int(b.MaxRecv), minFragment), maxFragment)
	}
	ack := dcerpc.BindAck{MaxXmit: uint16(a.maxXmit), MaxRecv: maxFragment, Group: b.Group, Address: `\PIPE\` + a.pipe}
	if ack.Group == 0 {
		ack.Group = 0x53F0
	}
	accepted := a.bound
	for _, c := range b.Contexts {
		r := a.present(c)
		accepted = accepted || r.Result == dcerpc.ResultAccept
		ack.Results = append(ack.Results, r)
	}
	a.bound = accepted || answer == dcerpc.TypeAlterResp
	out := dcerpc.Fragment{Header: reply(answer, f.CallID), Body: ack.AppendTo(nil)}
	if f.Auth != nil {
		var who *auth.Identity
		if out.Auth, who = a.security.step(f.Auth.Token); a.security.state == securityFailed {
			return [][]byte{fault(f.CallID, 0, dcerpc.FaultAccessDenied)}, true
		}
		a.identify(who)
		if a.security.signHeader {
			out.Flags |= dcerpc.FlagHeaderSigning
		}
	}
	return [][]byte{out.AppendTo(nil)}, true
}

// present decides about one presentation context.
func (a *association) present(c dcerpc.Context) dcerpc.Result {
	if len(c.Transfer) == 1 {
		if _, ok := c.Transfer[0].Features(); ok {
			return dcerpc.Result{Result: dcerpc.ResultNegotiateAck} // no optional feature
		}
	}
	i := findInterface(a.pipe, c.Abstract)
	if i == nil || len(a.contexts) >= maxPresent {
		return dcerpc.Result{Result: dcerpc.ResultProviderRejection, Reason: dcerpc.ReasonAbstractSyntax}
	}
	for _, t := range c.Transfer {
		if t == dcerpc.NDR {
			a.contexts[c.ID] = i
			return dcerpc.Result{Result: dcerpc.ResultAccept, Transfer: t}
		}
	}
	return dcerpc.Result{Result: dcerpc.ResultProviderRejection, Reason: dcerpc.ReasonTransferSyntax}
}

// request collects fragments and runs the call with its last one. frag is the
// whole of f.
func (a *association) request(f dcerpc.Fragment, frag []byte) ([][]byte, bool) {
	q, err := f.DecodeRequest()
	if err != nil {
		return nil, false
	}
	if s := a.security.state; s == securityGrowing || s == securityFailed || s == securityNone && f.Auth != nil {
		return [][]byte{fault(f.CallID, q.ContextID, dcerpc.FaultAccessDenied)}, false
	}
	if stub := dcerpc.HeaderLen + len(f.Body) - len(q.Stub); a.security.protects() && !a.security.open(&f, frag, stub) {
		return [][]byte{fault(f.CallID, q.ContextID, dcerpc.FaultAccessDenied)}, false
	}
	first, last := f.Flags&dcerpc.FlagFirst != 0, f.Flags&dcerpc.FlagLast != 0
	switch {
	case first && a.call == nil:
		a.call = &call{id: f.CallID, context: q.ContextID, opnum: q.Opnum, stub: dcerpc.Stub{BigEndian: f.BigEndian}}
	case first || a.call == nil || a.call.id != f.CallID:
		return [][]byte{fault(f.CallID, q.ContextID, dcerpc.FaultProtocol)}, false
	}
	c := a.call
	if len(c.stub.Data)+len(q.Stub) > maxStub {
		return [][]byte{fault(f.CallID, q.ContextID, dcerpc.FaultProtocol)}, false
	}
	c.stub.Data = append(c.stub.Data, q.Stub...)
	if !last {
		return nil, true
	}
	a.call = nil
	return a.run(c), true
}

// run performs a call and cuts its answer into fragments.
func (a *association) run(c *call) [][]byte {
	i := a.contexts[c.context]
	if i == nil {
		return [][]byte{fault(c.id, c.context, dcerpc.FaultUnknownInterface)}
	}
	op := i.ops[c.opnum]
	if op == nil {
		return [][]byte{fault(c.id, c.context, dcerpc.FaultOpRange)}
	}
	stub, status := op(a, c.stub)
	if status != 0 {
		return [][]byte{fault(c.id, c.context, status)}
	}
	room := a.maxXmit - dcerpc.HeaderLen - dcerpc.ResponseLen - a.security.overhead()
	room &^= 7
	var out [][]byte
	for first := true; first || len(stub) > 0; first = false {
		n := min(len(stub), room)
		h := dcerpc.Header{Type: dcerpc.TypeResponse, CallID: c.id}
		if first {
			h.Flags |= dcerpc.FlagFirst
		}
		if n == len(stub) {
			h.Flags |= dcerpc.FlagLast
		}
		r := dcerpc.Response{AllocHint: uint32(len(stub)), ContextID: c.context, Stub: stub[:n]}
		f := dcerpc.Fragment{Header: h, Body: r.AppendTo(nil)}
		out = append(out, a.security.close(&f, dcerpc.HeaderLen+dcerpc.ResponseLen))
		stub = stub[n:]
	}
	return out
}
