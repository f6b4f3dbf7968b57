package block

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

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

// Each way that records of the tree can disagree is found, by a check and by a scrubber that compares them
// one by one; a tree without damage has none.
func TestCheckOfTree(t *testing.T) {
	const dir, file, named = "dir", "file", "stream"
	type ids struct{ dir, file store.FileID }
	for _, c := range []struct {
		what   string // that is found; "" for no damage
		damage func(v *Volume, at ids) (key, value []byte)
	}{
		{"", nil},
		{"leads elsewhere", func(v *Volume, at ids) ([]byte, []byte) { return nameKey(nil, at.dir, v.up(file)), nil }},
		{"counts 1 names, has 0", func(v *Volume, at ids) ([]byte, []byte) { return linkKey(nil, at.file, at.dir, v.up(file)), nil }},
		{"does not know its name", func(v *Volume, at ids) ([]byte, []byte) { return linkKey(nil, at.file, at.dir, v.up(file)), nil }},
		{"cannot be reached from the root", func(v *Volume, at ids) ([]byte, []byte) {
			e := entry{name: dir, id: at.file}
			return nameKey(nil, store.RootID, v.up(dir)), e.encode(nil)
		}},
		{"names a file that is not there", func(v *Volume, at ids) ([]byte, []byte) {
			return inodeKey(nil, at.file, 0), nil
		}},
		{"in what is no directory", func(v *Volume, at ids) ([]byte, []byte) {
			e := entry{name: file, id: at.file}
			return nameKey(nil, at.file, v.up(file)), e.encode(nil)
		}},
		{"is filed as", func(v *Volume, at ids) ([]byte, []byte) {
			e := entry{name: "another", id: at.file}
			return nameKey(nil, at.dir, v.up(file)), e.encode(nil)
		}},
		{"directory with several names", func(v *Volume, at ids) ([]byte, []byte) {
			return linkKey(nil, at.dir, store.RootID, v.up("second")), fieldBytes(nil, fName, "second")
		}},
		{"stream without sizes", func(v *Volume, at ids) ([]byte, []byte) { return inodeKey(nil, at.file, 2), nil }},
		{"inode: ", func(v *Volume, at ids) ([]byte, []byte) { return inodeKey(nil, at.file, 0), []byte{fName, 0xff} }},
	} {
		t.Run(c.what, func(t *testing.T) {
			v, root := manual(t)
			d, _, err := v.Create(root, dir, store.Init{Dir: true})
			if err != nil {
				t.Fatal(err)
			}
			n, _, err := v.Create(d, file, store.Init{})
			if err != nil {
				t.Fatal(err)
			}
			s, _, err := n.CreateStream(named)
			if err != nil {
				t.Fatal(err)
			}
			at := ids{d.ID(), n.ID()}
			s.Close()
			n.Close()
			d.Close()
			if c.damage != nil {
				key, value := c.damage(v, at)
				if err := v.index.Set(versioned(v, key), value, pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			}
			has := func(by string, list []Problem) {
				t.Helper()
				if (c.what == "") != (len(list) == 0) || c.what != "" && !slices.ContainsFunc(list, func(p Problem) bool { return strings.Contains(p.What, c.what) }) {
					t.Errorf("%s found %v", by, list)
				}
			}
			var list []Problem
			if _, err := v.Check(CheckOptions{Found: func(p Problem) { list = append(list, p) }}); err != nil {
				t.Fatal(err)
			}
			has("a check", list)
			v.scrub.limits.records = 1
			if err := v.scrub.pass(); err != nil {
				t.Fatal(err)
			}
			has("a scrub", v.ScrubStatus().Found)
		})
	}
}

// versioned is a key under the version that it has, 0 when there is none.
func versioned(v *Volume, body []byte) []byte {
	f, err := v.find(body, newest)
	if err != nil || !f.ok {
		return at(body, 0)
	}
	return at(body, f.version)
}

// A wrong count is found whichever window it is in, as one however many sectors it is of, and so is one too
// few in the sum.
func TestCheckOfCounts(t *testing.T) {
	for _, window := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(window), func(t *testing.T) {
			v, _ := manual(t)
			v.window = window
			n, s := newFile(t, v, "f")
			defer n.Close()
			defer s.Close()
			for b := range 300 {
				if _, err := s.WriteAt(stamp(b, 1), int64(b)*blockSize, store.Touch{}); err != nil {
					t.Fatal(err)
				}
			}
			wrong := func(block int64, by int32) {
				all, err := v.versions(chunkBody(nil, n.ID(), s.(*handle).no, uint32(block/chunkBlocks)))
				if err != nil || len(all) == 0 {
					t.Fatal(len(all), err)
				}
				p, _ := all[0].m.at(uint8(block % chunkBlocks))
				off, sects := p.extent(uint8(block % chunkBlocks))
				id := regionID{p.container, uint16(off / regionSects)}
				value := appendInterval(nil, 0, interval{off % regionSects, sects, by})
				if err := v.index.Merge(regionKey(nil, kCounts, id.container, id.region), value, pebble.NoSync); err != nil {
					t.Fatal(err)
				}
			}
			found := func() (list []string) {
				if _, err := v.Check(CheckOptions{Found: func(p Problem) { list = append(list, p.What) }}); err != nil {
					t.Fatal(err)
				}
				return list
			}
			if list := found(); len(list) != 0 {
				t.Error(list)
			}
			for _, block := range []int64{3, 150, 290} {
				for _, by := range []int32{1, -1, 5} {
					wrong(block, by)
					if list := found(); len(list) != 1 || !strings.Contains(list[0], fmt.Sprintf("off by %d", -by)) {
						t.Errorf("block %d by %d: %q", block, by, list)
					}
					wrong(block, -by)
				}
			}
			if list := found(); len(list) != 0 {
				t.Errorf("mended: %q", list)
			}
			v.space.mu.Lock()
			v.space.live += sectorSize
			v.space.mu.Unlock()
			if list := found(); len(list) != 1 || !strings.Contains(list[0], "counted as living") {
				t.Errorf("the sum: %q", list)
			}
		})
	}
}
