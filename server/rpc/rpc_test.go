package rpc

import (
	"testing"
	"time"

	"gabion/protocol/dcerpc"
	"gabion/protocol/srvsvc"
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

// readAll reads messages in pieces as small clients do.
func readAll(t *testing.T, p *Pipe) [][]byte {
	t.Helper()
	var messages [][]byte
	var m []byte
	for {
		b := make([]byte, 1000)
		n, more, err := p.Read(b)
		if err == ErrEmpty {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		m = append(m, b[:n]...)
		if !more {
			messages, m = append(messages, m), nil
		}
	}
}

// A list of shares too long for one fragment, asked for in split writes and
// split fragments.
func TestSharesOverManyFragments(t *testing.T) {
	shares := make([]srvsvc.Share, 300)
	for i := range shares {
		shares[i] = srvsvc.Share{Name: "a-share-with-a-name", Remark: "and a remark"}
	}
	p, err := NewHost(fakeArray{shares}).Open(`\PIPE\SrvSvc`, Caller{})
	if err != nil {
		t.Fatal(err)
	}
	stub := shareEnumStub()
	in := append(bindPDU(), requestPDU(dcerpc.FlagFirst, srvsvc.OpShareEnum, stub[:8])...)
	in = append(in, requestPDU(dcerpc.FlagLast, srvsvc.OpShareEnum, stub[8:])...)
	for _, b := range in {
		if _, err := p.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	messages := readAll(t, p)
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
	h := NewHost(fakeArray{})
	if _, err := h.Open("spoolss", Caller{}); err != ErrNoPipe {
		t.Errorf("unknown pipe: %v", err)
	}
	p, _ := h.Open("srvsvc", Caller{})
	if _, err := p.Write(requestPDU(3, srvsvc.OpShareEnum, shareEnumStub())); err != ErrBroken {
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
		p, _ := h.Open("srvsvc", Caller{})
		if _, err := p.Write(append(bindPDU(), requestPDU(3, c.opnum, c.stub)...)); err != nil {
			t.Fatal(err)
		}
		f, err := dcerpc.DecodeFragment(readAll(t, p)[1])
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
	h := NewHost(fakeArray{[]srvsvc.Share{{Name: "a"}}})
	f.Fuzz(func(t *testing.T, b []byte) {
		p, _ := h.Open("srvsvc", Caller{Administrator: true})
		_, _ = p.Write(b)
		for {
			if _, _, err := p.Read(make([]byte, 100)); err != nil {
				return
			}
		}
	})
}
