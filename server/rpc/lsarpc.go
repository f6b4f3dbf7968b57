package rpc

import (
	"context"
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/ntstatus"
	"time"
)

var lsarpcOps = map[uint16]operation{
	lsarpc.OpClose:                   closePolicy,
	lsarpc.OpOpenPolicy:              openPolicy,
	lsarpc.OpOpenPolicy2:             openPolicy,
	lsarpc.OpQueryInformationPolicy:  queryPolicy,
	lsarpc.OpQueryInformationPolicy2: queryPolicy,
	lsarpc.OpGetUserName:             getUserName,
	lsarpc.OpLookupNames:             lookupNames(lsarpc.Form1),
	lsarpc.OpLookupNames2:            lookupNames(lsarpc.Form2),
	lsarpc.OpLookupNames3:            lookupNames(lsarpc.Form3),
	lsarpc.OpLookupNames4:            lookupNames(lsarpc.Form4),
	lsarpc.OpLookupSids:              lookupSids(lsarpc.Form1),
	lsarpc.OpLookupSids2:             lookupSids(lsarpc.Form2),
	lsarpc.OpLookupSids3:             lookupSids(lsarpc.Form3),
}

// maxHandles bounds the open policies of one pipe.
const maxHandles = 256

// openPolicy is LsarOpenPolicy2 (MS-LSAD 3.1.4.4.1). A policy gives no rights
// beyond look-ups, so every authenticated caller may have one.
func openPolicy(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	if _, err := lsarpc.DecodeOpenPolicy(stub); err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	switch {
	case a.caller.Anonymous:
		return lsarpc.EncodeHandle(lsarpc.Handle{}, ntstatus.AccessDenied), 0
	case len(a.policies) >= maxHandles:
		return lsarpc.EncodeHandle(lsarpc.Handle{}, ntstatus.InsufficientResources), 0
	}
	h := lsarpc.Handle{UUID: dtyp.NewGUID()}
	if a.policies == nil {
		a.policies = map[lsarpc.Handle]bool{}
	}
	a.policies[h] = true
	return lsarpc.EncodeHandle(h, ntstatus.Success), 0
}

// closePolicy is LsarClose (MS-LSAD 3.1.4.9.4). A handle that is not the
// association's is the runtime's error, not the operation's (C706 5.1.6).
func closePolicy(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	h, err := lsarpc.DecodeHandle(stub)
	switch {
	case err != nil:
		return nil, dcerpc.FaultBadStubData
	case !a.policies[h]:
		return nil, dcerpc.FaultContextMismatch
	}
	delete(a.policies, h)
	return lsarpc.EncodeHandle(lsarpc.Handle{}, ntstatus.Success), 0
}

// queryPolicy is LsarQueryInformationPolicy (MS-LSAD 3.1.4.4.4).
func queryPolicy(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	h, class, err := lsarpc.DecodeQueryPolicy(stub)
	switch {
	case err != nil:
		return nil, dcerpc.FaultBadStubData
	case !a.policies[h]:
		return nil, dcerpc.FaultContextMismatch
	}
	p := a.backend.Policy()
	return lsarpc.EncodeQueryPolicy(class, &p, ntstatus.Success), 0
}

// getUserName is LsarGetUserName (MS-LSAT 3.1.4.2).
func getUserName(a *association, stub dcerpc.Stub) ([]byte, uint32) {
	withDomain, err := lsarpc.DecodeGetUserName(stub)
	if err != nil {
		return nil, dcerpc.FaultBadStubData
	}
	if a.caller.Anonymous {
		return lsarpc.EncodeGetUserName("ANONYMOUS LOGON", "NT AUTHORITY", withDomain, ntstatus.Success), 0
	}
	return lsarpc.EncodeGetUserName(a.caller.User, a.caller.Domain, withDomain, ntstatus.Success), 0
}

// lookUpTime is how long one call may ask the domain; what is not found until then
// stays unmapped.
const lookUpTime = 10 * time.Second

// lookupNames is LsarLookupNames and its later forms (MS-LSAT 3.1.4.5 to 3.1.4.8).
// The fourth has no handle and is for domain members' secure channels only, which
// do not come over a pipe.
func lookupNames(form lsarpc.Form) operation {
	return func(a *association, stub dcerpc.Stub) ([]byte, uint32) {
		q, err := lsarpc.DecodeLookupNames(stub, form)
		switch {
		case err != nil:
			return nil, dcerpc.FaultBadStubData
		case form == lsarpc.Form4:
			return nil, dcerpc.FaultAccessDenied
		case !a.policies[q.Handle]:
			return nil, dcerpc.FaultContextMismatch
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookUpTime)
		defer cancel()
		list := make([]lsarpc.Account, len(q.Names))
		for i, n := range q.Names {
			list[i] = a.backend.LookupName(ctx, n)
		}
		return lsarpc.EncodeLookupNames(form, list, mappedStatus(list)), 0
	}
}

// lookupSids is LsarLookupSids and its later forms (MS-LSAT 3.1.4.9 to 3.1.4.11).
func lookupSids(form lsarpc.Form) operation {
	return func(a *association, stub dcerpc.Stub) ([]byte, uint32) {
		q, err := lsarpc.DecodeLookupSids(stub, form)
		switch {
		case err != nil:
			return nil, dcerpc.FaultBadStubData
		case form == lsarpc.Form3:
			return nil, dcerpc.FaultAccessDenied
		case !a.policies[q.Handle]:
			return nil, dcerpc.FaultContextMismatch
		}
		ctx, cancel := context.WithTimeout(context.Background(), lookUpTime)
		defer cancel()
		list := make([]lsarpc.Account, len(q.SIDs))
		for i, s := range q.SIDs {
			list[i] = a.backend.LookupSID(ctx, s)
		}
		return lsarpc.EncodeLookupSids(form, list, mappedStatus(list)), 0
	}
}

// mappedStatus tells whether all, some or none were found (MS-LSAT 3.1.4.5).
func mappedStatus(list []lsarpc.Account) ntstatus.Status {
	n := 0
	for i := range list {
		if list[i].Use != dtyp.SIDTypeUnknown {
			n++
		}
	}
	switch {
	case n == len(list):
		return ntstatus.Success
	case n == 0:
		return ntstatus.NoneMapped
	}
	return ntstatus.SomeNotMapped
}
