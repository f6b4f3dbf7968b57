package block

import (
	"bytes"
	"math/rand/v2"
	"reflect"
	"testing"

	"gabion/store"
)

// randomDelta makes an encoded delta and applies it to a plain array of blocks.
func randomDelta(rng *rand.Rand, plain *[chunkBlocks]piece, crcs *[chunkBlocks]uint32) []byte {
	var b []byte
	for range 1 + rng.IntN(4) {
		p := piece{kind: uint8(1 + rng.IntN(4)), block: uint8(rng.IntN(chunkBlocks))}
		p.n = uint8(1 + rng.IntN(chunkBlocks-int(p.block)))
		crc := make([]uint32, p.n)
		if p.stored() {
			p.container, p.off = uint64(1+rng.IntN(3)), uint32(rng.IntN(64))*blockSize
			for i := range crc {
				crc[i] = rng.Uint32()
			}
		}
		if p.kind == opPacked {
			p.frame, p.sectors = p.n, uint16(p.n)
		}
		b = appendPiece(b, p, crc)
		for i := p.block; i < p.end(); i++ {
			plain[i] = p.slice(i, i+1)
			if p.kind == opHole {
				plain[i] = piece{}
			}
			if p.stored() {
				crcs[i] = crc[i-p.block]
			}
		}
	}
	return b
}

// Merging deltas in any grouping gives what applying them one by one to an array gives.
func TestChunkMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		var plain [chunkBlocks]piece
		var crcs [chunkBlocks]uint32
		values := [][]byte{{opReset}}
		for range 1 + rng.IntN(6) {
			values = append(values, randomDelta(rng, &plain, &crcs))
		}
		for len(values) > 1 {
			i := rng.IntN(len(values) - 1)
			v, err := fold(kChunk, values[i:i+2], i == 0)
			if err != nil {
				t.Fatal(err)
			}
			values = append(values[:i], append([][]byte{v}, values[i+2:]...)...)
		}
		var m chunkMap
		if _, err := m.apply(values[0], nil); err != nil {
			t.Fatal(err)
		}
		for b := range uint8(chunkBlocks) {
			p, ok := m.at(b)
			want := plain[b]
			if ok != (want.kind != 0) {
				t.Fatalf("block %d: there %v, want %v", b, ok, want.kind != 0)
			}
			if ok && (!p.same(&want, b) || p.stored() && m.crc[b] != crcs[b]) {
				t.Fatalf("block %d: %+v, want %+v", b, p, want)
			}
		}
		for i := 1; i < len(m.pieces); i++ {
			if m.pieces[i-1].end() > m.pieces[i].block {
				t.Fatal("pieces overlap")
			}
		}
	}
}

func TestCountsMerge(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var want region
		var values [][]byte
		for range 1 + rng.IntN(8) {
			off := uint32(rng.IntN(regionSects))
			i := interval{off, 1 + uint32(rng.IntN(int(regionSects-off))), int32(rng.IntN(3) - 1)}
			for s := i.off; s < i.off+i.n; s++ {
				want[s] += i.change
			}
			values = append(values, appendInterval(nil, 0, i))
		}
		b, err := fold(kCounts, values, false)
		if err != nil {
			t.Fatal(err)
		}
		var got region
		if err := got.add(b); err != nil || got != want {
			t.Fatalf("counts differ (%v)", err)
		}
	}
}

func TestFieldsRoundTrip(t *testing.T) {
	a := attrs{dir: true, file: 0x20, times: store.Times{Creation: 1, LastAccess: 2, LastWrite: 3, Change: 4}, sizes: sizes{5, 6, 7},
		tag: 8, ea: 9, links: 10, cover: 11, data: 12, next: 13}
	var got attrs
	if err := got.decode(a.full(nil)); err != nil || got != a {
		t.Errorf("attributes came back as %+v, %v", got, err)
	}
	b := a
	b.size, b.dir, b.links = 0, false, 99
	merged, err := mergeFields(a.full(nil), b.encode(nil, &a))
	if err != nil {
		t.Fatal(err)
	}
	got = attrs{}
	if err := got.decode(merged); err != nil || got != b {
		t.Errorf("a delta makes %+v, %v, want %+v", got, err, b)
	}
	e := entry{"Näme", 77, a}
	var ge entry
	if err := ge.decode(e.encode(nil)); err != nil || ge != e {
		t.Errorf("entry came back as %+v, %v", ge, err)
	}
	s := snapshot{id: 3, name: "daily", taken: 4, scope: []store.FileID{1, 9}, hidden: true}
	gs := snapshot{id: 3}
	if err := gs.decode(s.encode()); err != nil || !reflect.DeepEqual(gs, s) {
		t.Errorf("snapshot came back as %+v, %v", gs, err)
	}
	p := &pending{to: streamRef{5, 6}, version: 7, first: 8, n: 9, from: streamRef{10, 11}, view: 12, off: 13}
	if gp, err := decodePending(p.key(), p.encode()); err != nil || *gp != *p {
		t.Errorf("pending clone came back as %+v, %v", gp, err)
	}
	runs := []run{{1, 2, 3, 4}, {5, 6, 7, 8}}
	if gr, err := decodeRuns(encodeRuns(runs)); err != nil || !reflect.DeepEqual(gr, runs) {
		t.Errorf("runs came back as %+v, %v", gr, err)
	}
}

func TestVersionedKeysSort(t *testing.T) {
	body := nameKey(nil, 5, "ABC")
	if bytes.Compare(at(body, 9), at(body, 3)) >= 0 {
		t.Error("a newer version sorts behind an older one")
	}
	if bytes.Compare(at(body, 0), at(nameKey(nil, 5, "ABCD"), newest)) >= 0 {
		t.Error("a name sorts behind a longer one")
	}
	b, v := versionOf(at(body, 42))
	if v != 42 || !bytes.Equal(b, body) {
		t.Errorf("version %d of %x", v, b)
	}
}

func TestIdentity(t *testing.T) {
	i, err := createIdentity(Options{FS: memFS(t), Dir: "d", SegmentSize: 256 << 10}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	b := i.encode()
	got, err := decodeIdentity(b)
	if err != nil || got.id != i.id || got.serial != i.serial || got.segmentSize != i.segmentSize {
		t.Fatalf("came back as %+v, %v", got, err)
	}
	for _, at := range []int{3, 8, 20, 50, 57, 70, 200} {
		c := bytes.Clone(b)
		c[at] ^= 0x10
		if _, err := decodeIdentity(c); err == nil {
			t.Errorf("a flipped bit at %d goes unnoticed", at)
		}
	}
}

func FuzzChunkMap(f *testing.F) {
	f.Add([]byte{opReset, opHole, 3, 4, opZeros, 60, 3})
	f.Add(appendPiece([]byte{opReset}, piece{kind: opRaw, container: 7, off: 4096, block: 2, n: 2}, []uint32{1, 2}))
	f.Add(appendPiece(nil, piece{kind: opPacked, container: 7, off: 512, sectors: 5, frame: 4, first: 1, block: 2, n: 2}, []uint32{1, 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var m chunkMap
		if _, err := m.apply(b, nil); err != nil {
			return
		}
		var n chunkMap
		if _, err := n.apply(m.encode(nil), nil); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(m.pieces, n.pieces) && len(m.pieces)+len(n.pieces) > 0 {
			t.Fatalf("%+v came back as %+v", m.pieces, n.pieces)
		}
	})
}

func FuzzCounts(f *testing.F) {
	f.Add(appendInterval(nil, 0, interval{5, 9, -1}))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, s region
		if r.add(b) != nil {
			return
		}
		if err := s.add(r.encode(nil)); err != nil || r != s {
			t.Fatal("counts do not come back")
		}
	})
}

func FuzzFields(f *testing.F) {
	f.Add([]byte{fSize, 5}, []byte{fName, 2, 'a', 'b', fSize, 6})
	f.Fuzz(func(t *testing.T, a, b []byte) {
		none := func(byte, uint64, []byte) {}
		if eachField(a, none) != nil || eachField(b, none) != nil {
			mergeFields(a, b) //nolint:errcheck // must not panic
			return
		}
		m, err := mergeFields(a, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := eachField(m, none); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzEdits(f *testing.F) {
	c := new(change)
	c.set([]byte("key"), []byte("value"))
	c.merge([]byte("k"), nil)
	c.del([]byte("x"))
	f.Add(c.body)
	v := openMem(f, memFS(f))
	f.Cleanup(func() { v.Close() })
	f.Fuzz(func(t *testing.T, b []byte) {
		batch := v.index.NewBatch()
		defer batch.Close()
		applyEdits(batch, b) //nolint:errcheck // must not panic
	})
}

func FuzzIdentity(f *testing.F) {
	i, err := createIdentity(Options{FS: memFS(f), Dir: "d"}.withDefaults())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(i.encode())
	f.Fuzz(func(t *testing.T, b []byte) { decodeIdentity(b) }) //nolint:errcheck // must not panic
}
