package rpc

import (
	"context"
	"testing"
	"time"

	"gabion/auth"
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/ntstatus"
	"gabion/protocol/srvsvc"
	"gabion/server"
)

type fakeArray struct{ shares []srvsvc.Share }

func (f fakeArray) Server() srvsvc.Server                  { return srvsvc.Server{Name: "ARRAY"} }
func (f fakeArray) Workgroup() string                      { return "WORKGROUP" }
func (f fakeArray) Started() time.Time                     { return time.Now() }
func (f fakeArray) Shares(Caller) []srvsvc.Share           { return f.shares }
func (f fakeArray) Sessions() []srvsvc.Session             { return nil }
func (f fakeArray) Files() []srvsvc.File                   { return nil }
func (f fakeArray) Connections(string) []srvsvc.Connection { return nil }
func (f fakeArray) CloseFile(uint32) bool                  { return false }
func (f fakeArray) CloseSessions(string, string) int       { return 0 }
func (f fakeArray) AddShare(Caller, srvsvc.Share) uint32   { return srvsvc.NotSupported }
func (f fakeArray) ChangeShare(Caller, string, srvsvc.Share, srvsvc.ShareParts) uint32 {
	return srvsvc.NotSupported
}
func (f fakeArray) RemoveShare(Caller, string) uint32 { return srvsvc.NotSupported }
func (f fakeArray) Delegated(*auth.Identity, string)  {}
func (f fakeArray) Transports() []srvsvc.Transport    { return nil }
func (f fakeArray) Policy() lsarpc.Policy             { return lsarpc.Policy{AccountDomain: "ARRAY"} }
func (f fakeArray) LookupName(ctx context.Context, name string) lsarpc.Account {
	return known.ByName(ctx, name)
}
func (f fakeArray) LookupSID(ctx context.Context, sid dtyp.SID) lsarpc.Account {
	return known.BySID(ctx, sid)
}

var known = Accounts{Domain: "ARRAY"}

func bindPDU() []byte {
	b := dcerpc.Bind{MaxXmit: 4280, MaxRecv: 4280, Contexts: []dcerpc.Context{{Abstract: srvsvc.Syntax, Transfer: []dcerpc.Syntax{dcerpc.NDR}}}}
	f := dcerpc.Fragment{Header: reply(dcerpc.TypeBind, 1), Body: b.AppendTo(nil)}
	return f.AppendTo(nil)
}

func requestPDU(flags uint8, opnum uint16, stub []byte) []byte {
	q := dcerpc.Request{Opnum: opnum, Stub: stub}
	f := dcerpc.Fragment{Header: dcerpc.Header{Type: dcerpc.TypeRequest, Flags: flags, CallID: 2}, Body: q.AppendTo(nil)}
	return f.AppendTo(nil)
}

func shareEnumStub() []byte {
	var w dcerpc.Writer
	w.Uint32(0)
	w.Uint32(1)
	w.Uint32(1)
	w.Pointer(func(w *dcerpc.Writer) { w.Uint32(0); w.Pointer(nil) })
	w.Flush()
	w.Uint32(0xFFFFFFFF)
	w.Pointer(nil)
	return w.Bytes()
}

// collect gathers what a pipe replies.
type collect [][]byte

func (c *collect) reply(m []byte) { *c = append(*c, m) }

// A list of shares too long for one fragment, asked for in split writes and
// split fragments.
func TestSharesOverManyFragments(t *testing.T) {
	shares := make([]srvsvc.Share, 300)
	for i := range shares {
		shares[i] = srvsvc.Share{Name: "a-share-with-a-name", Remark: "and a remark"}
	}
	p := newPipe("srvsvc", fakeArray{shares}, Caller{})
	var messages collect
	stub := shareEnumStub()
	in := append(bindPDU(), requestPDU(dcerpc.FlagFirst, srvsvc.OpShareEnum, stub[:8])...)
	in = append(in, requestPDU(dcerpc.FlagLast, srvsvc.OpShareEnum, stub[8:])...)
	for _, b := range in {
		if err := p.Write([]byte{b}, messages.reply); err != nil {
			t.Fatal(err)
		}
	}
	ack, err := dcerpc.DecodeFragment(messages[0])
	if err != nil || ack.Type != dcerpc.TypeBindAck {
		t.Fatalf("%v %v", ack.Type, err)
	}
	var out []byte
	for i, m := range messages[1:] {
		f, err := dcerpc.DecodeFragment(m)
		if err != nil || f.Type != dcerpc.TypeResponse || len(m) > 4280 {
			t.Fatalf("fragment %d: type %v of %d bytes, %v", i, f.Type, len(m), err)
		}
		if first := f.Flags&dcerpc.FlagFirst != 0; first != (i == 0) {
			t.Errorf("fragment %d: flags %x", i, f.Flags)
		}
		r, _ := dcerpc.DecodeResponse(f.Body)
		out = append(out, r.Stub...)
	}
	r := dcerpc.NewReader(out)
	r.Uint32()
	r.Uint32()
	r.Pointer()
	if n := r.Uint32(); n != 300 || len(messages) < 4 {
		t.Errorf("%d shares in %d messages", n, len(messages))
	}
}

func TestRefusals(t *testing.T) {
	if _, err := (&Host{}).Open("spoolss", server.PipeCaller{}); err != ntstatus.ObjectNameNotFound {
		t.Errorf("unknown pipe: %v", err)
	}
	var out collect
	if err := newPipe("srvsvc", fakeArray{}, Caller{}).Write(requestPDU(3, srvsvc.OpShareEnum, shareEnumStub()), out.reply); err != errBroken {
		t.Errorf("request before bind: %v", err)
	}
	for _, c := range []struct {
		name   string
		opnum  uint16
		stub   []byte
		status uint32
	}{
		{"unknown operation", 200, nil, dcerpc.FaultOpRange},
		{"truncated stub", srvsvc.OpShareEnum, []byte{1}, dcerpc.FaultBadStubData},
	} {
		var out collect
		p := newPipe("srvsvc", fakeArray{}, Caller{})
		if err := p.Write(append(bindPDU(), requestPDU(3, c.opnum, c.stub)...), out.reply); err != nil {
			t.Fatal(err)
		}
		f, err := dcerpc.DecodeFragment(out[1])
		if err != nil {
			t.Fatal(err)
		}
		if status, err := dcerpc.DecodeFault(f.Body); f.Type != dcerpc.TypeFault || status != c.status || err != nil {
			t.Errorf("%s: type %v, status %#x, %v", c.name, f.Type, status, err)
		}
	}
}

func FuzzPipe(f *testing.F) {
	f.Add(append(bindPDU(), requestPDU(3, srvsvc.OpShareEnum, shareEnumStub())...))
	f.Add(append(bindPDU(), requestPDU(3, srvsvc.OpSessionEnum, shareEnumStub())...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p := newPipe("srvsvc", fakeArray{[]srvsvc.Share{{Name: "a"}}}, Caller{Roles: auth.RolesOf(auth.RoleSuperAdmin)})
		_ = p.Write(b, func([]byte) {})
	})
}
