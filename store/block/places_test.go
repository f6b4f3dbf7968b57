package block

import (
	"math/rand/v2"
	"testing"
)

// Runs put one over the other lie where a plain array says.
func TestPlaceRun(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		var want [regionSects]struct {
			seq   uint64
			place uint32
		}
		var runs []run
		for range 1 + rng.IntN(60) {
			r := run{off: uint16(rng.IntN(regionSects)), seq: 1 + rng.Uint64N(3), place: uint32(rng.IntN(64)) * sectorSize}
			r.n = uint16(1 + rng.IntN(min(200, regionSects-int(r.off))))
			runs = placeRun(runs, r)
			for i := range uint32(r.n) {
				w := &want[uint32(r.off)+i]
				w.seq, w.place = r.seq, r.place+i*sectorSize
			}
		}
		again, err := decodeRuns(encodeRuns(runs))
		if err != nil {
			t.Fatal(err)
		}
		for i := range uint32(regionSects) {
			k := firstRun(again, i)
			if k == len(again) || uint32(again[k].off) > i {
				if want[i].seq != 0 {
					t.Fatalf("sector %d is lost", i)
				}
				continue
			}
			r := again[k]
			if at := r.place + (i-uint32(r.off))*sectorSize; r.seq != want[i].seq || at != want[i].place {
				t.Fatalf("sector %d lies in %d at %d, want %+v", i, r.seq, at, want[i])
			}
		}
	}
}
