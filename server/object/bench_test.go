package object

import (
	"testing"

	"gabion/protocol/ntstatus"
	"gabion/store/memvol"
)

type silent struct{}

func (silent) BreakOplock(*Open, OplockLevel, bool) {}
func (silent) BreakLease(LeaseBreak)                {}
func (silent) Changed([]*Open)                      {}
func (silent) Closed(*Open)                         {}

func benchTree(b *testing.B) *Tree {
	b.Helper()
	v := New(Config{Breaker: silent{}}).Mount(memvol.New(memvol.Options{}))
	t, st := v.Tree("", TreeOptions{Share: "s"})
	if st != ntstatus.Success {
		b.Fatal(st)
	}
	return t
}

func benchOpen(b *testing.B, t *Tree, r *CreateRequest) (o *Open) {
	t.Create(r, func(res CreateResult, st ntstatus.Status) {
		if o = res.Open; o == nil {
			b.Fatal(st)
		}
	})
	return o
}

func BenchmarkOpenClose(b *testing.B) {
	t := benchTree(b)
	r := &CreateRequest{Token: administrator, Path: "f", DesiredAccess: fileGenericRead, ShareAccess: 7, Disposition: dispOpenIf}
	keep := benchOpen(b, t, r)
	b.ReportAllocs()
	for b.Loop() {
		benchOpen(b, t, r).Close()
	}
	keep.Close()
}

func BenchmarkWrite(b *testing.B) {
	t := benchTree(b)
	o := benchOpen(b, t, &CreateRequest{
		Token: administrator, Path: "f", DesiredAccess: fileAllAccess, Disposition: dispOpenIf,
		Oplock: OplockLease, Lease: &LeaseRequest{Key: key("k"), State: cacheRWH, V2: true},
	})
	p := make([]byte, 4096)
	b.ReportAllocs()
	for b.Loop() {
		o.Write(p, 0, false)
	}
}

func BenchmarkRead(b *testing.B) {
	t := benchTree(b)
	o := benchOpen(b, t, &CreateRequest{Token: administrator, Path: "f", DesiredAccess: fileAllAccess, Disposition: dispOpenIf})
	p := make([]byte, 4096)
	o.Write(p, 0, false)
	b.ReportAllocs()
	for b.Loop() {
		o.Read(p, 0)
	}
}
