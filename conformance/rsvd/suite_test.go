package rsvd

import (
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/rsvd/vhdx"
	"gabion/store"
	"gabion/store/memvol"
)

// share serves shared disks.
const share = "disks"

var shareArgs = []string{"--share", share + ",shared-vhdx,path=disks"}

func start(t testing.TB, args ...string) (*rig.Server, Server) {
	t.Helper()
	s := rig.Start(t, append(args, shareArgs...)...)
	return s, serverOf(s)
}

func serverOf(s *rig.Server) Server {
	return Server{Addr: s.Addr, Share: share, Credentials: client.Credentials{User: rig.User, Password: rig.Password}}
}

// image makes a file by writing to a volume of its own.
func image(t testing.TB, make func(store.Stream) error) []byte {
	t.Helper()
	v := memvol.New(memvol.Options{})
	defer v.Close()
	root, err := v.Root(store.Live)
	must(t, err)
	n, _, err := v.Create(root, "f", store.Init{})
	must(t, err)
	s, err := n.Data()
	must(t, err)
	must(t, make(s))
	b := readAll(t, s)
	s.Close()
	return b
}

func readAll(t testing.TB, s store.Stream) []byte {
	t.Helper()
	b := make([]byte, s.Sizes().Size)
	n, err := s.ReadAt(b, 0)
	must(t, err)
	return b[:n]
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// dynamic is an empty dynamic disk, as a file.
func dynamic(t testing.TB, size int64) []byte {
	return image(t, func(s store.Stream) error {
		_, err := vhdx.Create(s, vhdx.Params{Size: size}, store.Touch{})
		return err
	})
}

// setOf is a VHD set that names a payload.
func setOf(t testing.TB, payload string) []byte {
	return image(t, func(s store.Stream) error {
		_, err := vhdx.WriteSet(s, payload, store.Touch{})
		return err
	})
}

// images brings the two that the cases need.
func images(t testing.TB, s Server) *Env {
	return &Env{Server: s, Disk: dynamic(t, diskSize), Set: setOf(t, PayloadName), SetPayload: dynamic(t, diskSize)}
}

func TestCases(t *testing.T) {
	if len(Cases) != 29 {
		t.Fatalf("%d cases", len(Cases))
	}
	_, s := start(t, "--shared-vhdx-log-names")
	e := images(t, s)
	if len(e.Disk) != 4<<20 {
		t.Fatalf("the empty disk has %d bytes", len(e.Disk))
	}
	for _, c := range Cases {
		t.Run(c.Name, func(t *testing.T) {
			if err := e.Do(c); err != nil {
				t.Error(err)
			}
		})
	}
}
