package block

import (
	"bytes"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/store"
)

// A named stream and then its whole file lose their names while both are open. What is left to do about the
// stream when the file's removal is done takes nothing from the snapshot that shows both.
func TestOrphanStreamOfRemovedFile(t *testing.T) {
	fs := vfs.NewMem()
	open := func() *Volume {
		v, err := Open(Options{Dir: "vol", FS: fs, SegmentSize: 256 << 10, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	v := open()
	n, data := newFile(t, v, "f")
	s, _, err := n.CreateStream("one")
	if err != nil {
		t.Fatal(err)
	}
	want := stamp(1, 1)
	if _, err := s.WriteAt(want, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	snap, _, err := v.Snapshots().Create("s", []store.FileID{n.ID()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.RemoveStream("one"); err != nil {
		t.Fatal(err)
	}
	root, err := v.Root(store.Live)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := v.Unlink(root, "f"); err != nil {
		t.Fatal(err)
	}
	root.Close()
	s.Close()
	data.Close()
	n.Close()
	for range 2 {
		settle(v, 100)
		if err := v.Close(); err != nil {
			t.Fatal(err)
		}
		v = open()
	}
	defer func() { v.Close() }()
	settle(v, 100)
	n, err = v.OpenID(snap.View, snap.Scope[0])
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if s, err = n.Stream("one"); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got := make([]byte, blockSize)
	if k, err := s.ReadAt(got, 0); err != nil || k != blockSize || !bytes.Equal(got, want) {
		t.Errorf("the snapshot shows %d bytes of %d, %v", k, s.Sizes().Size, err)
	}
	if err := verify(v); err != nil {
		t.Error(err)
	}
}
