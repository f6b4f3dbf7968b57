package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"gabion/odx"
	"gabion/store"
	"gabion/store/memvol"
)

// array is one side of a test.
type array struct {
	vol    store.Volume
	link   *Link
	tokens *odx.Tokens
}

func newArray(t testing.TB) *array {
	t.Helper()
	return newArrayIn(t, memvol.New(memvol.Options{}))
}

func newArrayIn(t testing.TB, vol store.Volume) *array {
	t.Helper()
	a := &array{vol: vol}
	var err error
	if a.link, err = Open(a.vol, nil, nil); err != nil {
		t.Fatal(err)
	}
	if a.tokens, err = odx.Open(a.vol, a.link.Fingerprint().Array(), a.link.Book); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.link.Close)
	return a
}

func (a *array) serve(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a.link.Serve(l, a.tokens)
	return a.link.Address()
}

func (a *array) trust(t testing.TB, other *array, address string) {
	t.Helper()
	if _, err := a.link.Book.Add("other", other.link.Fingerprint().String(), address); err != nil {
		t.Fatal(err)
	}
}

// sparse makes a file with data here and there and a token for all of it.
func (a *array) sparse(t testing.TB) (odx.Token, []byte) {
	t.Helper()
	root, _ := a.vol.Root(store.Live)
	n, _, err := a.vol.Create(root, "f", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.Data()
	if err != nil {
		t.Fatal(err)
	}
	want := make([]byte, 40<<20+100)
	for i, at := range []int{0, 1 << 20, 7<<20 + 4096, 32<<20 - 8192, 39 << 20, 40 << 20} {
		p := bytes.Repeat([]byte{byte(i + 1)}, []int{100, 4096, 3 << 20, 20000, 512, 100}[i])
		copy(want[at:], p)
		if _, err := s.WriteAt(p, int64(at), store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	tok, _, _, err := a.tokens.Issue(s, 0, 40<<20+512, 0, odx.Issuer{})
	if err != nil {
		t.Fatal(err)
	}
	return tok, append(want, make([]byte, 412)...)
}

// collect fetches a range, going on where a request ended for taking its time.
func collect(src *odx.Source, off, n int64) (got []byte, holes int64, err error) {
	for err == nil && int64(len(got)) < n {
		before := len(got)
		_, err = src.Remote(context.Background(), off+int64(before), n-int64(before), func(data []byte, k int64) error {
			if data == nil {
				data = make([]byte, k)
				holes += k
			}
			got = append(got, data...)
			return nil
		})
		if err == nil && len(got) == before {
			return got, holes, errors.New("a fetch brought nothing")
		}
	}
	return got, holes, err
}

func TestFetch(t *testing.T) {
	a, b := newArray(t), newArray(t)
	tok, want := a.sparse(t)
	if _, err := b.tokens.Open(tok[:]); !errors.Is(err, odx.ErrInvalid) {
		t.Errorf("a token of a stranger: %v", err)
	}
	b.trust(t, a, a.serve(t))
	src, err := b.tokens.Open(tok[:])
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := collect(src, 0, 4096); !errors.Is(err, odx.ErrUnreachable) {
		t.Errorf("from an array that does not know us: %v", err)
	}
	a.trust(t, b, "")
	got, holes, err := collect(src, 0, src.Length)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if holes < 36<<20 {
		t.Errorf("%d bytes of holes were not sent", holes)
	}
	for _, r := range [][2]int64{{512, 1024}, {1<<20 + 512, 4096}, {39 << 20, 1<<20 + 512}, {7 << 20, 1 << 20}} {
		got, _, err := collect(src, r[0], r[1])
		if err != nil || !bytes.Equal(got, want[r[0]:r[0]+r[1]]) {
			t.Errorf("[%d,+%d): %v", r[0], r[1], err)
		}
	}
	bad := tok
	bad[8+60] ^= 1
	if src, err := b.tokens.Open(bad[:]); err == nil {
		if _, _, err = collect(src, 0, 512); !errors.Is(err, odx.ErrInvalid) {
			t.Errorf("forged: %v", err)
		}
	}
	if _, err := a.tokens.Revoke(""); err != nil {
		t.Fatal(err)
	}
	if _, _, err := collect(src, 0, 512); !errors.Is(err, odx.ErrInvalid) {
		t.Errorf("revoked: %v", err)
	}
	if err := a.link.Book.Remove("OTHER"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := collect(src, 0, 512); !errors.Is(err, odx.ErrUnreachable) {
		t.Errorf("removed: %v", err)
	}
	if err := b.link.Book.Remove("other"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.tokens.Open(tok[:]); !errors.Is(err, odx.ErrInvalid) {
		t.Errorf("after the peer was removed: %v", err)
	}
}

// flaky forwards connections, and cuts each after some bytes.
func flaky(t testing.TB, to string, after int64) (addr string, cuts *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	cuts = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				d, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer d.Close()
				go io.Copy(d, c)      //nolint:errcheck // it ends when the other does
				io.CopyN(c, d, after) //nolint:errcheck // cut on purpose
				cuts.Add(1)
			}()
		}
	}()
	return l.Addr().String(), cuts
}

// A transfer whose link is cut again and again goes on where it was.
func TestResume(t *testing.T) {
	a, b := newArray(t), newArray(t)
	tok, want := a.sparse(t)
	addr, cuts := flaky(t, a.serve(t), 700_000)
	a.trust(t, b, "")
	b.trust(t, a, addr)
	src, err := b.tokens.Open(tok[:])
	if err != nil {
		t.Fatal(err)
	}
	got, _, err := collect(src, 0, src.Length)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%d bytes after %d cuts, %v", len(got), cuts.Load(), err)
	}
	if cuts.Load() == 0 {
		t.Error("nothing was cut")
	}
}

// What the taker refuses ends the transfer with its own error.
func TestTakerFails(t *testing.T) {
	a, b := newArray(t), newArray(t)
	tok, _ := a.sparse(t)
	b.trust(t, a, a.serve(t))
	a.trust(t, b, "")
	src, err := b.tokens.Open(tok[:])
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	n := int64(0)
	for err == nil && n < src.Length { // a request may end for taking its time
		var more int64
		more, err = src.Remote(context.Background(), n, src.Length-n, func([]byte, int64) error {
			if calls++; calls > 2 {
				return store.ErrNoSpace
			}
			return nil
		})
		n += more
	}
	if !errors.Is(err, store.ErrNoSpace) || n == 0 {
		t.Errorf("%d bytes, %v", n, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := src.Remote(ctx, 0, 512, func([]byte, int64) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A panic where data is read, or looked for, ends the answer alone, or the connection. It is logged.
func TestPanicOfASource(t *testing.T) {
	for _, method := range []string{"ReadAt", "Allocated"} {
		t.Run(method, func(t *testing.T) { panicOfASource(t, method) })
	}
}

func panicOfASource(t *testing.T, where string) {
	var broken atomic.Bool
	a, b := newArrayIn(t, memvol.New(memvol.Options{Fault: func(method string) error {
		if method == where && broken.CompareAndSwap(true, false) {
			panic("a disk on fire")
		}
		return nil
	}})), newArray(t)
	tok, want := a.sparse(t)
	b.trust(t, a, a.serve(t))
	a.trust(t, b, "")
	src, err := b.tokens.Open(tok[:])
	if err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	// Where the connection ended the client tries again by itself.
	if got, _, err := collect(src, 0, src.Length); !errors.Is(err, odx.ErrUnreachable) && (where == "ReadAt" || !bytes.Equal(got, want)) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if broken.Load() {
		t.Error("there was no panic")
	}
	if got, _, err := collect(src, 0, src.Length); err != nil || !bytes.Equal(got, want) {
		t.Errorf("after it: %d bytes, %v", len(got), err)
	}
}

// What cannot be read is never promised: what lies before it arrives, and the transfer ends
// without being tried again.
func TestSourceCannotRead(t *testing.T) {
	var broken atomic.Bool
	var reads atomic.Int32
	a, b := newArrayIn(t, memvol.New(memvol.Options{Fault: func(method string) error {
		if method == "ReadAt" && broken.Load() && reads.Add(1) == 6 {
			return &store.CorruptError{}
		}
		return nil
	}})), newArray(t)
	root, _ := a.vol.Root(store.Live)
	n, _, err := a.vol.Create(root, "f", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := n.Data()
	want := bytes.Repeat([]byte("0123456789abcdef"), 12<<20/16)
	if _, err := s.WriteAt(want, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	tok, _, _, err := a.tokens.Issue(s, 0, int64(len(want)), 0, odx.Issuer{})
	if err != nil {
		t.Fatal(err)
	}
	b.trust(t, a, a.serve(t))
	a.trust(t, b, "")
	src, err := b.tokens.Open(tok[:])
	if err != nil {
		t.Fatal(err)
	}
	broken.Store(true)
	got, _, err := collect(src, 0, src.Length)
	if !errors.Is(err, odx.ErrUnreachable) || len(got) == 0 || len(got) == len(want) || !bytes.HasPrefix(want, got) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if r := reads.Load(); r > 12 {
		t.Errorf("it was tried again: %d reads", r)
	}
	broken.Store(false)
	if got, _, err := collect(src, 0, src.Length); err != nil || !bytes.Equal(got, want) {
		t.Errorf("read again: %d bytes, %v", len(got), err)
	}
}

// Strangers are let go of in their handshake; garbage costs its connection alone.
func TestStrangers(t *testing.T) {
	a, b := newArray(t), newArray(t)
	addr := a.serve(t)
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.Write([]byte("GET / HTTP/1.1\r\n\r\n")) //nolint:errcheck // the other end's answer counts
	if _, err := io.ReadAll(c); err != nil && !errors.Is(err, net.ErrClosed) {
		t.Log(err)
	}
	a.trust(t, b, "")
	p := &client{link: b.link, peer: a.link.Fingerprint(), address: addr}
	defer p.close()
	conn, _, err := p.take(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	conn.Write(make([]byte, 600)) //nolint:errcheck // as above
	conn.flush()                  //nolint:errcheck // as above
	if _, err := conn.r.ReadByte(); err == nil {
		t.Error("garbage was answered")
	}
	stranger := newArray(t)
	p = &client{link: stranger.link, peer: b.link.Fingerprint(), address: addr}
	if _, _, err := p.take(context.Background()); err == nil {
		t.Error("an array with another key was taken for the one that was meant")
	}
}

func TestBook(t *testing.T) {
	a, b := newArray(t), newArray(t)
	f := b.link.Fingerprint().String()
	for _, c := range []struct{ name, fingerprint, address string }{
		{"", f, ""}, {"x y", f, ""}, {"x", f[1:], ""}, {"x", "zz" + f[2:], ""}, {"x", f, "nowhere"}, {"x", a.link.Fingerprint().String(), ""},
	} {
		if _, err := a.link.Book.Add(c.name, c.fingerprint, c.address); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	a.trust(t, b, "127.0.0.1:1")
	if _, err := a.link.Book.Add("Other", f, ""); !errors.Is(err, ErrPeerExists) {
		t.Error(err)
	}
	again, err := Open(a.vol, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if again.Fingerprint() != a.link.Fingerprint() {
		t.Error("a restart changed the array's identity")
	}
	if list := again.Book.List(); len(list) != 1 || list[0].Fingerprint != f || list[0].Address != "127.0.0.1:1" {
		t.Errorf("after a restart: %+v", list)
	}
	if err := a.link.Book.Remove("nobody"); !errors.Is(err, ErrNoPeer) {
		t.Error(err)
	}
}
