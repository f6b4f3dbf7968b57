package storetest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// kit is a volume under test whose methods fail the test instead of returning
// an error.
type kit struct {
	testing.TB
	v    store.Volume
	root store.Node
}

func newKit(t *testing.T, open func(testing.TB) store.Volume) *kit {
	t.Helper()
	k := &kit{TB: t, v: open(t)}
	root, err := k.v.Root(store.Live)
	k.ok(err)
	k.root = root
	t.Cleanup(func() {
		root.Close()
		if err := k.v.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return k
}

func (k *kit) ok(err error) {
	if err != nil {
		k.Helper()
		k.Fatal(err)
	}
}

// fails checks that err is the sentinel want.
func (k *kit) fails(err, want error) {
	if !errors.Is(err, want) {
		k.Helper()
		k.Errorf("got error %v, want %v", err, want)
	}
}

// times are different for every n, so that mixed-up fields show.
func times(n uint64) store.Times {
	at := dtyp.Filetime(133_000_000_000_000_000 + 1000*n)
	return store.Times{Creation: at + 1, LastAccess: at + 2, LastWrite: at + 3, Change: at + 4}
}

func (k *kit) create(dir store.Node, name string, init store.Init) store.Node {
	k.Helper()
	if init.Times == (store.Times{}) {
		init.Times = times(7)
	}
	n, _, err := k.v.Create(dir, name, init)
	k.ok(err)
	k.Cleanup(n.Close)
	return n
}

func (k *kit) file(dir store.Node, name string) store.Node {
	k.Helper()
	return k.create(dir, name, store.Init{})
}

func (k *kit) mkdir(dir store.Node, name string) store.Node {
	k.Helper()
	return k.create(dir, name, store.Init{Dir: true})
}

func (k *kit) data(n store.Node) store.Stream {
	k.Helper()
	s, err := n.Data()
	k.ok(err)
	k.Cleanup(s.Close)
	return s
}

func (k *kit) stream(n store.Node, name string) store.Stream {
	k.Helper()
	s, _, err := n.CreateStream(name)
	k.ok(err)
	k.Cleanup(s.Close)
	return s
}

// write is WriteAt without times.
func (k *kit) write(s store.Stream, p []byte, off int64) store.Pos {
	k.Helper()
	pos, err := s.WriteAt(p, off, store.Touch{})
	k.ok(err)
	return pos
}

func (k *kit) read(s store.Stream, off int64, n int) []byte {
	k.Helper()
	p := bytes.Repeat([]byte{0xEE}, n)
	got, err := s.ReadAt(p, off)
	if err != nil && !(err == io.EOF && got == 0) {
		k.Fatal(err)
	}
	return p[:got]
}

// holds checks the whole contents of a stream.
func (k *kit) holds(s store.Stream, want []byte) {
	k.Helper()
	if size := s.Sizes().Size; size != int64(len(want)) {
		k.Errorf("size %d, want %d", size, len(want))
		return
	}
	if got := k.read(s, 0, len(want)+1); !bytes.Equal(got, want) {
		k.Errorf("contents differ at %d", mismatch(got, want))
	}
}

func mismatch(a, b []byte) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

func (k *kit) attr(n store.Node) store.Attr {
	k.Helper()
	a, err := n.Attr()
	k.ok(err)
	return a
}

// names lists a directory in pages of max entries.
func (k *kit) names(dir store.Node, max int) []string {
	k.Helper()
	var out []string
	after := ""
	for {
		es, err := k.v.ReadDir(dir, after, max, nil)
		k.ok(err)
		for _, e := range es {
			out = append(out, e.Name)
			after = e.Name
		}
		if len(es) < max {
			return out
		}
	}
}

func (k *kit) listed(dir store.Node, want ...string) {
	k.Helper()
	if got := k.names(dir, 100); !slices.Equal(got, want) {
		k.Errorf("directory holds %q, want %q", got, want)
	}
}

func (k *kit) snap(name string, scope ...store.FileID) store.View {
	k.Helper()
	if len(scope) == 0 {
		scope = []store.FileID{store.RootID}
	}
	s, pos, err := k.v.Snapshots().Create(name, scope)
	k.ok(err)
	k.ok(k.v.Wait(pos))
	if s.View == store.Live || s.Name != name || !slices.Equal(s.Scope, scope) {
		k.Errorf("snapshot %+v, want name %q, scope %v", s, name, scope)
	}
	return s.View
}

// in opens a node as it is in a view.
func (k *kit) in(v store.View, id store.FileID) store.Node {
	k.Helper()
	n, err := k.v.OpenID(v, id)
	k.ok(err)
	k.Cleanup(n.Close)
	return n
}

// pattern is n bytes that differ from seed to seed and from place to place.
func pattern(seed uint64, n int) []byte {
	p := make([]byte, n)
	x := seed*0x9E3779B97F4A7C15 + 1
	for i := range p {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		p[i] = byte(x >> 32)
	}
	return p
}
