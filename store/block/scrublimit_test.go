package block

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"gabion/store"
)

// A pass that may keep little counts by many windows, finds nothing on a healthy volume and finds a wrong
// count in each of them; where they are too many for a pass the next one goes on, and the status says so.
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
	all := scrubLimits{records: 1, window: 2, windows: 1000}
	if st := scrub(all); st.Problems != 0 || len(st.LeftOut) != 0 {
		t.Errorf("a healthy volume: %+v", st)
	}
	segments := int64(len(v.space.segs))
	if segments < 8 {
		t.Fatal(segments, "segments")
	}
	damage := func(by int32) {
		for container := range v.space.segs {
			key := regionKey(nil, kCounts, container, 0)
			wrong := appendInterval(nil, 0, interval{regionSects - 1, 1, by}) // behind a segment's end
			if err := v.index.Merge(key, wrong, pebble.NoSync); err != nil {
				t.Fatal(err)
			}
		}
	}
	damage(1)
	st := scrub(all)
	if st.Problems != segments || int64(len(st.Found)) != segments {
		t.Errorf("%d problems with the counts of %d segments", st.Problems, segments)
	}
	for _, x := range st.Found {
		if !strings.Contains(x.What, "reference count") {
			t.Error(x)
		}
	}
	damage(-1)
	if st = scrub(all); st.Problems != 0 {
		t.Errorf("mended: %+v", st)
	}

	// A pass of few windows leaves the rest to the next ones, which find all in the end and forget nothing.
	damage(1)
	few := scrubLimits{records: 1, window: 2, windows: 1}
	passes, before := 0, int64(0)
	for st = scrub(few); len(st.LeftOut) > 0; st = scrub(few) {
		if passes++; st.Problems <= before || st.Problems != int64(len(st.Found)) || int64(passes) > segments {
			t.Fatalf("pass %d: %d problems after %d; %+v", passes, st.Problems, before, st)
		}
		before = st.Problems
		if st.Problems == segments {
			break
		}
		reload(t, v) // as if the volume was opened anew
	}
	if st.Problems != segments || passes < 2 {
		t.Errorf("%d problems with the counts of %d segments after %d passes", st.Problems, segments, passes)
	}
	damage(-1)
	for range segments {
		before, st = st.Problems, scrub(few)
		if st.Problems > before {
			t.Errorf("%d problems after %d, while there are none", st.Problems, before)
		}
	}
	if st.Problems != 0 || len(st.Found) != 0 {
		t.Errorf("mended: %+v", st)
	}

	// Where reading the maps costs no more than the data did, a pass goes on.
	if st = scrub(scrubLimits{records: 1, window: 2, windows: 1, reads: 1 << 20}); len(st.LeftOut) != 0 {
		t.Errorf("though it may read much: %+v", st)
	}
}

// reload makes the scrubber know what it would after the volume was opened anew.
func reload(t *testing.T, v *Volume) {
	t.Helper()
	v.scrub = scrubber{}
	v.scrub.start(v)
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
