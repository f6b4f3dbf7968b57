package server

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/server/object"
	"gabion/store"
	"gabion/store/block"
)

// trusting is a believer whose users are administrators.
type trusting struct{ believer }

func (trusting) Begin(netip.AddrPort) Authentication { return trusting{} }
func (trusting) Step(token []byte) ([]byte, *Identity, error) {
	answer, who, err := believer{}.Step(token)
	if who != nil {
		who.Token.Groups = []auth.Group{{SID: dtyp.AuthenticatedUsers, Attributes: 7}, {SID: dtyp.BuiltinAdministrators, Attributes: 7}}
	}
	return answer, who, err
}

// lending serves a volume with a cache of data of so many bytes, and a file "disk" of random bytes.
func lending(t testing.TB, cache int64, size int) (*block.Volume, string, []byte) {
	t.Helper()
	vol, err := block.Open(block.Options{Dir: "data", FS: vfs.NewMem(), SegmentSize: 4 << 20, CacheSize: 8 << 20, DataCache: cache})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { vol.Close() })
	root, err := vol.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	n, _, err := vol.Create(root, "disk", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	s, err := n.Data()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	data := make([]byte, size)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(data)
	clear(data[size/2 : size/2+200<<10]) // some of it is not stored
	for _, p := range [][2]int{{0, size / 2}, {size/2 + 200<<10, size}} {
		if _, err := s.WriteAt(data[p[0]:p[1]], int64(p[0]), store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	srv, addr := startServer(t, func(c *Config) { c.Auth, c.Signing = trusting{}, SigningEnabled })
	tree, status := object.New(object.Config{Breaker: srv.Breaker()}).Mount(vol).Tree("", object.TreeOptions{Share: "vms"})
	expect(t, "tree", status, ntstatus.Success)
	if err := srv.AddShare(&Share{Name: "vms", Tree: tree}); err != nil {
		t.Fatal(err)
	}
	return vol, addr, data
}

// readOf is a READ of n bytes at off.
func (p *peer) readOf(id smb2.FileID, off, n int, change ...func(*smb2.HeaderFields)) []byte {
	charge := func(h *smb2.HeaderFields) {
		if p.dialect != Dialect202 {
			h.CreditCharge = uint16((n-1)>>16 + 1)
		}
	}
	return p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Offset: uint64(off), Length: uint32(n)},
		append([]func(*smb2.HeaderFields){charge}, change...)...)
}

// gathers asks for the credits that large reads need.
func (p *peer) gathers() {
	p.t.Helper()
	for range 4 {
		p.do(smb2.CommandEcho, echoBody(), nil, func(h *smb2.HeaderFields) { h.Credits = 512 })
	}
}

// given waits until what is lent of a volume's cache is as it is to be.
func given(t testing.TB, vol *block.Volume, what string, is func(borrowed int64) bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !is(vol.Stats().DataBorrowed); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never %s", what)
		}
	}
}

func none(borrowed int64) bool { return borrowed == 0 }

// Large reads are the same from the cache, signed, sealed and in plain text, alone and in compounds,
// and give back what they borrow.
func TestLentReads(t *testing.T) {
	for _, tt := range []struct {
		dialect smb2.Dialect
		how     string
	}{
		{Dialect311, "plain"}, {Dialect311, "signed"}, {Dialect311, "sealed"}, {Dialect302, "signed"}, {Dialect302, "sealed"}, {Dialect202, "plain"},
	} {
		t.Run(fmt.Sprintf("%v %s", tt.dialect, tt.how), func(t *testing.T) {
			vol, addr, data := lending(t, 1<<20, 1<<20+77)
			p := connect(t, addr, tt.dialect, "alice")
			p.seal = tt.how == "sealed"
			expect(t, "mount", p.mount("vms"), ntstatus.Success)
			if tt.how == "plain" {
				p.signer = nil
			}
			id := p.open("disk")
			most := 64 << 10
			if tt.dialect != Dialect202 {
				p.gathers()
				most = len(data)
			}
			check := func(what string, off, n int) {
				t.Helper()
				h, m := p.read()
				var resp smb2.ReadResponse
				if h == nil || h.Status() != ntstatus.Success || resp.Decode(m) != nil {
					t.Fatalf("%s: %v", what, h)
				}
				if !bytes.Equal(resp.Data, data[off:min(off+n, len(data))]) {
					t.Fatalf("%s of %d bytes at %d: other data", what, n, off)
				}
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for i := range 150 {
				off := rng.IntN(len(data))
				switch i % 3 {
				case 0:
					off = off &^ (64<<10 - 1)
				case 1:
					off = off &^ 4095
				}
				n := 1 + rng.IntN(most)
				p.write(p.readOf(id, off, n))
				check("read", off, n)
			}
			n := min(most, 128<<10)
			for range 3 {
				p.write(compound(p.readOf(id, 0, n), p.readOf(id, 4096, n, related), p.message(smb2.CommandEcho, echoBody())))
				check("first of a compound", 0, n)
				check("second of a compound", 4096, n)
				expect(t, "last of a compound", p.status(), ntstatus.Success)
				p.write(p.message(smb2.CommandRead, &smb2.ReadRequest{FileID: id, Length: 40 << 10, MinimumCount: 41 << 10}))
				expect(t, "read of less than asked for", p.status(), ntstatus.EndOfFile)
			}
			if st := vol.Stats(); st.DataHits == 0 {
				t.Error("nothing came from the cache")
			}
			given(t, vol, "given back", none)
		})
	}
}

// A client that does not take what it asked for, and goes, leaves nothing borrowed.
func TestLentToTheLost(t *testing.T) {
	for _, how := range []string{"plain", "signed"} {
		t.Run(how, func(t *testing.T) {
			vol, addr, data := lending(t, 16<<20, 8<<20)
			p := connect(t, addr, Dialect311, "alice")
			expect(t, "mount", p.mount("vms"), ntstatus.Success)
			if how == "plain" {
				p.signer = nil
			}
			id := p.open("disk")
			p.gathers()
			for range 2 { // the second fills the cache
				for off := 0; off < len(data); off += 1 << 20 {
					p.write(p.readOf(id, off, 1<<20))
					expect(t, "read", p.status(), ntstatus.Success)
				}
			}
			given(t, vol, "given back", none)
			for range 4 {
				for off := 0; off < len(data); off += 1 << 20 {
					p.write(p.readOf(id, off, 1<<20))
				}
			}
			given(t, vol, "lent", func(borrowed int64) bool { return borrowed > 0 })
			p.nc.Close()
			given(t, vol, "given back by a client that went", none)
		})
	}
}
