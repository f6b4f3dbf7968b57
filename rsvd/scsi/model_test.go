package scsi

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// model is a second telling of SPC-4 5.13, written from the point of view of one
// registration table keyed by initiator number, to be compared with State.
type model struct {
	keys   map[int]uint64
	kind   Type
	owner  int
	gen    uint32
	notice map[int]map[Sense]bool
}

func newModel() *model {
	return &model{keys: map[int]uint64{}, notice: map[int]map[Sense]bool{}}
}

func (m *model) everybody() bool { return m.kind == 7 || m.kind == 8 }
func (m *model) loud() bool      { return m.kind >= 5 }
func (m *model) tell(i int, s Sense) {
	if m.notice[i] == nil {
		m.notice[i] = map[Sense]bool{}
	}
	m.notice[i][s] = true
}

func (m *model) holds(i int) bool {
	_, reg := m.keys[i]
	return m.kind != 0 && (m.everybody() && reg || !m.everybody() && m.owner == i)
}

func (m *model) leave(i int) {
	held := m.holds(i)
	delete(m.keys, i)
	if !held || m.everybody() && len(m.keys) > 0 {
		return
	}
	if m.loud() {
		for j := range m.keys {
			m.tell(j, Sense{6, 0x2A, 4})
		}
	}
	m.kind = 0
}

// do returns 'G', 'C' or 'E'.
func (m *model) do(i int, a Action, ty Type, key, sark uint64) byte {
	mine, reg := m.keys[i]
	if a == Register || a == RegisterAndIgnore {
		if a == Register && (reg && key != mine || !reg && key != 0) {
			return 'C'
		}
		if !reg && sark == 0 {
			return 'G'
		}
		m.gen++
		if sark == 0 {
			m.leave(i)
		} else {
			m.keys[i] = sark
		}
		return 'G'
	}
	if !reg || mine != key {
		return 'C'
	}
	legal := ty == 1 || ty == 3 || ty >= 5 && ty <= 8
	switch a {
	case Reserve:
		if !legal {
			return 'E'
		}
		if m.kind == 0 {
			m.kind, m.owner = ty, i
			return 'G'
		}
		if m.holds(i) && m.kind == ty {
			return 'G'
		}
		return 'C'
	case Release:
		if !m.holds(i) {
			return 'G'
		}
		if ty != m.kind {
			return 'E'
		}
		if m.loud() {
			for j := range m.keys {
				if j != i {
					m.tell(j, Sense{6, 0x2A, 4})
				}
			}
		}
		m.kind = 0
		return 'G'
	case Clear:
		for j := range m.keys {
			if j != i {
				m.tell(j, Sense{6, 0x2A, 3})
			}
		}
		clear(m.keys)
		m.kind = 0
		m.gen++
		return 'G'
	}
	return m.preempt(i, ty, legal, sark)
}

func (m *model) preempt(i int, ty Type, legal bool, sark uint64) byte {
	if sark == 0 && !m.everybody() {
		return 'E'
	}
	takes := sark == 0 || m.kind != 0 && !m.everybody() && m.keys[m.owner] == sark
	if takes && !legal {
		return 'E'
	}
	any := false
	before := maps.Clone(m.keys)
	for j, k := range before {
		if sark != 0 && k != sark {
			continue
		}
		any = true
		if j == i && (takes || m.everybody()) {
			continue
		}
		delete(m.keys, j)
		if j != i {
			m.tell(j, Sense{6, 0x2A, 5})
		}
	}
	if !any {
		return 'C'
	}
	m.gen++
	if takes {
		if m.kind != ty {
			for j := range m.keys {
				if j != i {
					m.tell(j, Sense{6, 0x2A, 4})
				}
			}
		}
		m.kind, m.owner = ty, i
	}
	return 'G'
}

func (m *model) equal(s *State) error {
	if m.gen != s.Generation || len(m.keys) != len(s.Registrations) || m.kind != s.Type {
		return fmt.Errorf("generation %d, %d registrations, %v; state %+v", m.gen, len(m.keys), m.kind, s)
	}
	for i, k := range m.keys {
		if got, ok := s.Key(who(i)); !ok || got != k || s.Holds(who(i)) != m.holds(i) {
			return fmt.Errorf("initiator %d: key %#x, holder %v; state %+v", i, k, m.holds(i), s)
		}
	}
	return nil
}

// Random lives of two to eight initiators against the model: same results, same
// state, same unit attentions, also when the target starts again from its record
// between any two commands.
func TestModelAgrees(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 7))
		r, m := newRig(t), newModel()
		n := 2 + rng.IntN(7)
		for step := range 150 {
			i, a := rng.IntN(n), Action(rng.IntN(7))
			ty := Type(rng.IntN(9))
			key, sark := uint64(rng.IntN(4)), uint64(rng.IntN(4))
			if k, ok := m.keys[i]; ok && rng.IntN(4) > 0 {
				key = k
			}
			if rng.IntN(3) > 0 && m.kind != 0 {
				ty = m.kind
			}
			pre := *m
			pre.keys, pre.notice = maps.Clone(m.keys), map[int]map[Sense]bool{}
			for j, s := range m.notice {
				pre.notice[j] = maps.Clone(s)
			}
			want := m.do(i, a, ty, key, sark)
			res := r.out(i, a, ty, key, sark)
			if len(pre.notice[i]) > 0 && want != 'C' {
				// The unit attention comes instead of the command.
				*m = pre
				if !res.Sense.UnitAttention() || !m.notice[i][res.Sense] {
					t.Fatalf("seed %d step %d: %v %v, want one of %v", seed, step, res.Status, res.Sense, m.notice[i])
				}
				delete(m.notice[i], res.Sense)
			} else if got := map[Status]byte{Good: 'G', ReservationConflict: 'C', CheckCondition: 'E'}[res.Status]; got != want {
				t.Fatalf("seed %d step %d: initiator %d action %d %v key %#x sark %#x: %v %v, want %c\n%+v", seed, step, i, a, ty, key, sark, res.Status, res.Sense, want, pre)
			}
			rec := r.Record()
			if err := m.equal(&rec.State); err != nil {
				t.Fatalf("seed %d step %d: action %d: %v", seed, step, a, err)
			}
			if r.saved != nil && rng.IntN(10) == 0 {
				r.restart()
				for _, at := range r.Record().Attentions {
					m.tell(int(at.To[0])-1, at.Sense) // raised again
				}
			}
		}
	}
}

// restart is kill -9: the state comes back from the last saved record.
func (r *rig) restart() {
	r.t.Helper()
	var rec Record
	if err := rec.Decode(r.saved); err != nil {
		r.t.Fatal(err)
	}
	now := r.Record().State
	if !rec.State.Equal(&now) {
		r.t.Fatalf("saved %+v, was %+v", rec.State, now)
	}
	r.start(rec)
}

// While an exclusive reservation is known to be held, only its holder's writes reach
// the disk, although every initiator writes all the time and writes take their time.
func TestNeverTwoWriters(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 9))
		n := 2 + rng.IntN(7)
		r := newRig(t)
		var owner atomic.Int32 // initiator known to be the only writer, plus 1
		r.disk.wrote = func(b byte) {
			for range 3 {
				runtime.Gosched()
			}
			if o := owner.Load(); o != 0 && o != int32(b)+1 {
				t.Errorf("seed %d: initiator %d wrote while %d held the disk", seed, b, o-1)
			}
		}
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				block := make([]byte, 512)
				block[0] = byte(i)
				for {
					select {
					case <-stop:
						return
					default:
					}
					c := &Command{Initiator: who(i), CDB: CDB{0: 0x2A, 8: 1}, DataOut: block}
					r.Execute(c, func(Result) {})
				}
			})
		}
		for range 200 {
			i := rng.IntN(n)
			state := r.Record().State
			key, _ := state.Key(who(i))
			a, ty, sark := RegisterAndIgnore, types[rng.IntN(2)], uint64(i+1)
			switch rng.IntN(4) {
			case 0:
				a = Reserve
			case 1, 2:
				a = Preempt + Action(rng.IntN(2))
				sark, _ = state.Key(state.Holder)
			}
			owner.Store(0)
			cdb, list := out(a, ty, key, sark)
			c := &Command{Initiator: who(i), DataOut: list}
			copy(c.CDB[:], cdb)
			got := make(chan Result, 1)
			r.Execute(c, func(x Result) { got <- x })
			if res := <-got; res.Status == Good && a != RegisterAndIgnore {
				owner.Store(int32(i) + 1)
			}
		}
		close(stop)
		wg.Wait()
	}
}
