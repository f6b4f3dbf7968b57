package transfer

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"gabion/protocol/archive"
)

// What an export reads and an import writes takes its turn, all of it, and who is stopped while
// waiting ends.
func TestTransfersTakeTheirTurn(t *testing.T) {
	from, to := newArray(t), newArray(t)
	from.dir("", "src")
	to.dir("", "dst")
	const size = archive.MaxData + 5000
	from.write(from.file("src", "disk"), "", bytes.Repeat([]byte{7}, size), 0)
	s := from.snap("s", "vms/src")
	target, err := from.vms.Resolve("vms/src")
	from.ok(err)
	took := 0
	turn := func(n int, _ <-chan struct{}) { took += n }
	var b bytes.Buffer
	from.ok((&Export{Volume: from.vol, Target: target, Snap: s, Turn: turn}).Write(t.Context(), &b))
	if took < size {
		t.Errorf("turns for %d bytes of %d", took, size)
	}
	took = 0
	if _, err := to.importTo("vms/dst", bytes.NewReader(b.Bytes()), func(m *Import) { m.Turn = turn }); err != nil || took < size {
		t.Errorf("turns for %d bytes of %d, %v", took, size, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	never := func(_ int, end <-chan struct{}) { stop(); <-end }
	if err := (&Export{Volume: from.vol, Target: target, Snap: s, Turn: never}).Write(ctx, &b); !errors.Is(err, context.Canceled) {
		t.Errorf("stopped while it waits: %v", err)
	}
}
