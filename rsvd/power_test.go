package rsvd

import (
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"gabion/protocol/ntstatus"
	"gabion/rsvd/scsi"
	"gabion/rsvd/vhdx"
	"gabion/store"
	"gabion/store/block"
	"gabion/store/crashfs"
)

// A power cut on the real engine keeps every acknowledged write and reservation,
// and the container stays sound.
func TestPowerCut(t *testing.T) {
	for seed := range uint64(12) {
		p := &power{rng: rand.New(rand.NewPCG(seed, 33)), base: vfs.NewMem()}
		for cut := range 4 {
			p.life(t, seed, cut)
		}
	}
}

// power is what must outlive the cuts of one seed.
type power struct {
	rng  *rand.Rand
	base vfs.FS
	// Sector i of the disk holds a number between sure and last.
	sure, last [powerSectors]uint64
	stamp      uint64
	owner      uint64 // key of the acknowledged holder, 0 for none
	unsure     bool   // a change of reservations was not acknowledged
}

const powerSectors = 40

func (p *power) life(t *testing.T, seed uint64, cut int) {
	fs, _ := crashfs.Mem(p.base, crashfs.Options{})
	v, err := block.Open(block.Options{Dir: "data", FS: fs, SegmentSize: 1 << 20, CacheSize: 8 << 20})
	if err != nil {
		t.Fatalf("seed %d, cut %d: %v", seed, cut, err)
	}
	w := worldOn(t, v)
	if cut == 0 {
		w.disk("a.vhdx", vhdx.Params{})
		w.must(v.Sync())
	}
	c := w.open("a.vhdx", 1)
	w.must(c.disk.medium.Load().Check())
	p.verify(t, c, seed, cut)
	for range 60 {
		switch p.rng.IntN(12) {
		case 0:
			key := uint64(p.rng.IntN(3))
			pos := p.reserve(c, key)
			p.unsure = p.rng.IntN(2) == 0
			if !p.unsure {
				w.must(v.Wait(pos))
				p.owner = key
			}
		default:
			p.write(t, c, v)
		}
	}
	if err := fs.Crash(p.rng, p.rng.IntN(101)); err != nil {
		t.Fatal(err)
	}
	v.Close()
}

// at spreads the sectors over blocks.
func at(i int) uint64 { return uint64(i) * (diskSize / powerSectors / 512) * 512 }

func (p *power) write(t *testing.T, c *client, v store.Volume) {
	i := p.rng.IntN(powerSectors)
	p.stamp++
	p.last[i] = p.stamp
	s := sectors(1, 0)
	bigEndian.PutUint64(s, p.stamp)
	c.Write(s, at(i), func(pos store.Pos, status ntstatus.Status) {
		if status != ntstatus.Success {
			t.Fatal(status)
		}
		if p.rng.IntN(3) == 0 {
			if err := v.Wait(pos); err != nil {
				t.Fatal(err)
			}
			p.sure = p.last // all that was written before is durable as well
		}
	})
}

// reserve takes everything away and, with a key, registers and reserves anew.
func (p *power) reserve(c *client, key uint64) store.Pos {
	var last store.Pos
	do := func(a scsi.Action, ty scsi.Type, key, actionKey uint64) {
		list := append(bigEndian.AppendUint64(bigEndian.AppendUint64(nil, key), actionKey), make([]byte, 8)...)
		c.disk.target.Execute(&scsi.Command{Initiator: c.initiator, CDB: scsi.CDB{0: 0x5F, 1: byte(a), 2: byte(ty), 8: 24}, DataOut: list}, func(r scsi.Result) {
			if r.Status != scsi.Good {
				c.t.Errorf("action %d: %v", a, r.Status)
			}
			last = max(last, r.Pos)
		})
	}
	do(scsi.RegisterAndIgnore, 0, 0, 0)
	if key != 0 {
		do(scsi.RegisterAndIgnore, 0, 0, key)
		do(scsi.Reserve, scsi.WriteExclusive, key, 0)
	}
	return last
}

func (p *power) verify(t *testing.T, c *client, seed uint64, cut int) {
	for i := range p.last {
		s, status := c.read(512, at(i))
		if status != ntstatus.Success {
			t.Fatalf("seed %d, cut %d: %v", seed, cut, status)
		}
		if got := bigEndian.Uint64(s); got < p.sure[i] || got > p.last[i] {
			t.Fatalf("seed %d, cut %d: sector %d holds %d, want %d to %d", seed, cut, i, got, p.sure[i], p.last[i])
		} else {
			p.sure[i], p.last[i] = got, got
		}
	}
	state := c.disk.target.Record().State
	holder, _ := state.Key(c.initiator)
	if !p.unsure && holder != p.owner {
		t.Fatalf("seed %d, cut %d: key %d is registered, want %d", seed, cut, holder, p.owner)
	}
	p.owner, p.unsure = holder, false
}
