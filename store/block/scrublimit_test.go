package block

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// A pass that may keep little counts by many windows, finds nothing on a healthy volume and finds a wrong
// count in each of them; what is too large for it is left out, and the status says so.
func TestScrubLimits(t *testing.T) {
	v, _ := manual(t)
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	for b := range 600 {
		if _, err := s.WriteAt(stamp(b, 1), int64(b)*blockSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	scrub := func(l scrubLimits) ScrubStatus {
		t.Helper()
		v.scrub.limits = l
		if err := v.scrub.pass(); err != nil {
			t.Fatal(err)
		}
		return v.ScrubStatus()
	}
	small := scrubLimits{records: 1, window: 2, regions: 1000}
	if st := scrub(small); st.Problems != 0 || len(st.LeftOut) != 0 {
		t.Errorf("a healthy volume: %+v", st)
	}
	for container := range v.space.segs {
		key := regionKey(nil, kCounts, container, 0)
		wrong := appendInterval(nil, 0, interval{regionSects - 1, 1, 1}) // behind a segment's end
		if err := v.index.Merge(key, wrong, pebble.NoSync); err != nil {
			t.Fatal(err)
		}
	}
	st := scrub(small)
	if len(v.space.segs) < 8 || st.Problems != int64(len(v.space.segs)) {
		t.Errorf("%d problems with the counts of %d segments", st.Problems, len(v.space.segs))
	}
	for _, x := range st.Found {
		if !strings.Contains(x.What, "reference count") {
			t.Error(x)
		}
	}
	if st := scrub(scrubLimits{records: 1, window: 2, regions: 1}); st.Problems != 0 || !slices.Equal(st.LeftOut, []string{"the reference counts"}) {
		t.Errorf("more regions than may be: %+v", st)
	}
}

// What a pass found that was stopped is forgotten by the next one that does not find it.
func TestScrubStopped(t *testing.T) {
	v, _ := manual(t)
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	data := make([]byte, 4*chunkSize)
	for b := range len(data) / blockSize {
		copy(data[b*blockSize:], stamp(b, 1))
	}
	if _, err := s.WriteAt(data, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	if err := v.Sync(); err != nil {
		t.Fatal(err)
	}
	all, err := v.versions(chunkBody(nil, n.ID(), s.(*handle).no, 0))
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	p, _ := all[0].m.at(3)
	off, _ := p.extent(3)
	file, place, _ := strings.Cut(v.space.where(p.container, off*sectorSize), " at ")
	var at int64
	fmt.Sscan(place, &at)
	flipAt(t, v.opt.FS, "vol/"+file, at)
	v.TakeTurns(func(int, <-chan struct{}) {
		if v.ScrubStatus().Problems > 0 {
			v.StopScrub()
		}
	})
	if err := v.scrub.pass(); !errors.Is(err, errScrubStopped) {
		t.Fatalf("it was told to stop: %v", err)
	}
	if st := v.ScrubStatus(); st.Problems != 1 || len(st.Found) != 1 || st.Passes != 0 {
		t.Errorf("stopped: %+v", st)
	}
	if _, err := s.WriteAt(data, 0, store.Touch{}); err != nil {
		t.Fatal(err)
	}
	v.TakeTurns(func(int, <-chan struct{}) {})
	if err := v.scrub.pass(); err != nil {
		t.Fatal(err)
	}
	if st := v.ScrubStatus(); st.Problems != 0 || len(st.Found) != 0 || st.Passes != 1 {
		t.Errorf("after it was written anew: %+v", st)
	}
}

// A pass that is told to stop ends at the next thing it would read, and is no full one even where there is
// nothing more to read; one that was only asked for does not begin.
func TestScrubStopsAtOnce(t *testing.T) {
	v, _ := manual(t)
	p := v.scrub.begin(true)
	if !v.StopScrub() || v.StopScrub() {
		t.Error("one pass runs")
	}
	if err := p.run(); !errors.Is(err, errScrubStopped) {
		t.Errorf("told to stop where there is nothing to read: %v", err)
	}
	n, s := newFile(t, v, "f")
	defer n.Close()
	defer s.Close()
	const chunks = 4
	for b := range chunks * chunkBlocks {
		if _, err := s.WriteAt(stamp(b, 1), int64(b)*blockSize, store.Touch{}); err != nil {
			t.Fatal(err)
		}
	}
	for at := 1; ; at++ {
		turns := 0
		v.TakeTurns(func(int, <-chan struct{}) {
			if turns++; turns == at && !v.StopScrub() {
				t.Error("no pass runs in its own turn")
			}
		})
		err := v.scrub.pass()
		if turns < at {
			if err != nil || at <= chunks {
				t.Errorf("%d turns without being stopped: %v", turns, err)
			}
			break
		}
		if !errors.Is(err, errScrubStopped) || turns != at {
			t.Errorf("told to stop in turn %d, it took %d: %v", at, turns, err)
		}
	}
	if st := v.ScrubStatus(); st.Passes != 1 || st.Running {
		t.Errorf("after one that was not stopped: %+v", st)
	}
	if err := v.StartScrub(); err != nil {
		t.Fatal(err)
	}
	if !v.StopScrub() || v.scrub.begin(false) != nil {
		t.Error("a pass began that was not asked for any more")
	}
	if err := v.StartScrub(); err != nil || v.scrub.begin(false) == nil {
		t.Errorf("one that was asked for did not begin: %v", err)
	}
	if err := v.StartScrub(); err != ErrScrubbing {
		t.Errorf("a second pass at the same time: %v", err)
	}
}
