package block

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"gabion/store"
)

// needless names the first version in the index that no snapshot sees, or whose last snapshot would not
// find it when it goes, for want of a marker. A snapshot that is being deleted still counts.
func needless(v *Volume) error {
	var known living
	for _, s := range v.snaps.list() {
		known = append(known, s.id)
	}
	alive := *v.snaps.live.Load()
	marked := map[string][]uint64{}
	if err := v.scan([]byte{kMarker}, nil, func(key, _ []byte) (bool, error) {
		marked[string(key[9:])] = append(marked[string(key[9:])], be.Uint64(key[1:]))
		return true, nil
	}); err != nil {
		return err
	}
	var last []byte
	var above uint64
	var found error
	for _, kind := range []byte{kBlob, kChunk, kInode, kLink, kName, kStream} {
		if err := v.scan([]byte{kind}, nil, func(key, _ []byte) (bool, error) {
			body, version := versionOf(key)
			if !bytes.Equal(body, last) {
				last, above = slices.Clone(body), version
				return true, nil
			}
			newest := alive.newestUpTo(above)
			switch {
			case !known.within(version, above):
				found = fmt.Errorf("key %x: nobody sees version %d, before %d", body, version, above)
			case newest > version && !slices.ContainsFunc(marked[string(body)], func(m uint64) bool {
				return m >= newest && m <= above && slices.Contains(known, m)
			}):
				found = fmt.Errorf("key %x: version %d, before %d, has no marker of %d or one above: %d", body, version, above, newest, marked[string(body)])
			}
			above = version
			return found == nil, nil
		}); err != nil || found != nil {
			return errors.Join(err, found)
		}
	}
	return nil
}

// TestNothingStaysOfDeletedSnapshots deletes snapshots in any order, several at once now and then, while
// the disk goes on changing: each leaves nothing behind that nobody sees, the last nothing at all.
func TestNothingStaysOfDeletedSnapshots(t *testing.T) {
	opened, err := engineOf(1).Open(memFS(t))
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	v := opened.(*Volume)
	n, s := newFile(t, v, "disk")
	defer n.Close()
	defer s.Close()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	r := rand.New(rand.NewPCG(7, 7))
	buf := noise(blockSize)
	const blocks = 4 * chunkBlocks
	change := func() {
		stir(buf)
		_, err := s.WriteAt(buf, r.Int64N(blocks)*blockSize, store.Touch{})
		must(err)
		if at := r.Int64N(4) * chunkSize; r.IntN(4) == 0 {
			_, err = s.Zero(at, chunkSize, store.Touch{})
			must(err)
		}
	}
	var views []store.View
	for i := range 60 {
		change()
		snap, _, err := v.Snapshots().Create(fmt.Sprint(i), []store.FileID{store.RootID})
		must(err)
		views = append(views, snap.View)
		if i%10 == 9 { // back to what an older one holds
			_, err := v.Snapshots().Restore([]store.FileID{n.ID()}, views[r.IntN(len(views))])
			must(err)
		}
	}
	r.Shuffle(len(views), func(i, j int) { views[i], views[j] = views[j], views[i] })
	for i, view := range views {
		_, err := v.Snapshots().Delete(view)
		must(err)
		if i%3 == 0 {
			change()
		}
		if r.IntN(3) > 0 {
			settle(v, 1000)
		}
		must(needless(v))
	}
	settle(v, 1000)
	must(verify(v))
	last := ""
	must(v.scan([]byte{kChunk}, nil, func(key, _ []byte) (bool, error) {
		body, version := versionOf(key)
		if string(body) == last {
			t.Errorf("version %d of chunk %d stayed", version, be.Uint32(body[13:]))
		}
		last = string(body)
		return true, nil
	}))
	must(v.scan([]byte{kMarker}, nil, func(key, _ []byte) (bool, error) {
		t.Errorf("marker %x stayed", key)
		return true, nil
	}))
}
