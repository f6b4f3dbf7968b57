package block

import (
	"testing"

	"gabion/store"
)

// A removed file that a snapshot still shows keeps the record of its stream as it was
// named once; that is no damage.
func TestCheckOfRemovedFileInSnapshot(t *testing.T) {
	v, root := manual(t)
	n, _, err := v.Create(root, "f", store.Init{})
	if err != nil {
		t.Fatal(err)
	}
	s, _, err := n.CreateStream("named")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := n.RenameStream("named", "", true); err != nil {
		t.Fatal(err)
	}
	if _, err := s.WriteAt(make([]byte, 3*blockSize), 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	n.Close()
	if _, _, err := v.Snapshots().Create("s", []store.FileID{store.RootID}); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Unlink(root, "f"); err != nil {
		t.Fatal(err)
	}
	for more := true; more; {
		if err := verify(v); err != nil {
			t.Fatal(err)
		}
		if more, err = v.Step(); err != nil {
			t.Fatal(err)
		}
	}
	if err := verify(v); err != nil {
		t.Error(err)
	}
}
