package server_test

import (
	"bytes"
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// What clients write to a share that compresses takes less space, and reads as it was, also when the
// share does not any more and after a loss of power; what does not shrink is stored as it is.
func TestCompressingShare(t *testing.T) {
	a := newLife(t, nil)
	ann := a.host(hostGUID, "ann")
	data := bytes.Repeat([]byte("the quick brown fox and the lazy dog, "), 14000)[:512<<10]
	write := func(name string) int64 {
		t.Helper()
		before := a.tree.Store().Space().Used
		f := open(t, ann, persistent(client.OpenFile(name), dtyp.NewGUID()))
		if _, err := f.WriteAt(data, 0); err != nil {
			t.Fatal(err)
		}
		want(t, "close", f.Close(), ntstatus.Success)
		return a.tree.Store().Space().Used - before
	}
	if used := write("plain"); used != int64(len(data)) {
		t.Errorf("a share that does not compress: %d bytes take %d", len(data), used)
	}
	a.tree.Compress(true)
	if used := write("packed"); used > int64(len(data))/4 {
		t.Errorf("a share that compresses: %d bytes take %d", len(data), used)
	}
	a.tree.Compress(false)
	if used := write("plain again"); used != int64(len(data)) {
		t.Errorf("a share that does not compress any more: %d bytes take %d", len(data), used)
	}
	b := a.next()
	ann = b.host(hostGUID, "ann")
	for _, name := range []string{"plain", "packed", "plain again"} {
		got := make([]byte, len(data))
		if _, err := open(t, ann, client.OpenFile(name)).ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s reads as something else (%v)", name, err)
		}
	}
}
