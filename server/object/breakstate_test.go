package object

import (
	"testing"

	"gabion/protocol/ntstatus"
)

var everyCaching = []Caching{0, CacheRead, cacheRH, cacheRW, cacheRWH}

// everyState are the states a grant can be in.
func everyState() []breakState {
	var all []breakState
	for _, lease := range []bool{true, false} {
		for _, held := range everyCaching {
			if !lease && held == cacheRH {
				continue // no oplock is that
			}
			all = append(all, breakState{Lease: lease, Held: held})
			if !needsAck(held) {
				continue
			}
			for _, to := range everyCaching {
				if to == held || to&^held != 0 || !lease && to&^CacheRead != 0 {
					continue
				}
				for _, required := range everyCaching {
					if required&^to == 0 && (lease || required&^CacheRead == 0) {
						all = append(all, breakState{lease, held, true, to, required})
					}
				}
			}
		}
	}
	return all
}

// check holds what is true of every state.
func (s breakState) check() string {
	switch {
	case s.Held != s.Held.legal():
		return "holds what cannot be granted"
	case !s.Lease && s.Held == cacheRH:
		return "an oplock of R and H"
	case s.Breaking && !needsAck(s.Held):
		return "waits for an acknowledgement of R"
	case s.Breaking && (s.To&^s.Held != 0 || s.To == s.Held):
		return "breaks to what it has"
	case s.Breaking && s.Required&^s.To != 0:
		return "requires less than was told"
	}
	return ""
}

func TestBreakStates(t *testing.T) {
	for _, s := range everyState() {
		if why := s.check(); why != "" {
			t.Fatalf("%+v: %s", s, why)
		}
		for _, keep := range []Caching{0, CacheRead, cacheRH, cacheRW, cacheRWH} {
			next, n := s.demand(keep)
			if why := next.check(); why != "" {
				t.Errorf("%+v demand %v: %+v: %s", s, keep, next, why)
			}
			switch {
			case s.Breaking && n.Send:
				t.Errorf("%+v demand %v: told twice", s, keep)
			case n.Send && (n.From != s.Held || n.To == n.From || n.To&^keep != 0):
				t.Errorf("%+v demand %v: notice %+v", s, keep, n)
			case n.Send && n.Ack != (s.Held != CacheRead):
				t.Errorf("%+v demand %v: acknowledgement %v", s, keep, n.Ack)
			case !s.Breaking && !n.Send && s.Held&^keep != 0 && next.Held&^keep != 0:
				t.Errorf("%+v demand %v: ignored", s, keep)
			case next.Breaking && next.Required&^keep != 0:
				t.Errorf("%+v demand %v: forgotten: %+v", s, keep, next)
			}
		}
		for got := Caching(0); got < 8; got++ {
			next, n, st := s.acknowledge(got)
			if why := next.check(); why != "" {
				t.Errorf("%+v acknowledge %v: %+v: %s", s, got, next, why)
			}
			switch {
			case !s.Breaking:
				if st != ntstatus.Unsuccessful || next != s {
					t.Errorf("%+v acknowledge %v: %v %+v", s, got, st, next)
				}
			case got&^s.To != 0:
				if st != ntstatus.RequestNotAccepted || next != s {
					t.Errorf("%+v acknowledge %v: %v %+v", s, got, st, next)
				}
			case st != ntstatus.Success:
				t.Errorf("%+v acknowledge %v: %v", s, got, st)
			case next.Breaking != (n.Send && n.Ack):
				t.Errorf("%+v acknowledge %v: %+v notice %+v", s, got, next, n)
			case !next.Breaking && next.Held&^s.Required != 0:
				t.Errorf("%+v acknowledge %v: keeps %v", s, got, next.Held)
			}
		}
		next := s.timeout()
		if s.Breaking && (next.Breaking || next.Held != 0) || !s.Breaking && next != s {
			t.Errorf("%+v timeout: %+v", s, next)
		}
		for _, want := range everyCaching {
			for _, possible := range everyCaching {
				next, ok := s.upgrade(want, possible)
				if ok && (s.Breaking || next.Held != want || want&^possible != 0 || s.Held&^want != 0 || want == s.Held) || !ok && next != s {
					t.Errorf("%+v upgrade %v of %v: %v %+v", s, want, possible, ok, next)
				}
			}
		}
	}
}

// TestBreakInSteps is what a client sees that is asked for W and, while it has
// not answered, for everything.
func TestBreakInSteps(t *testing.T) {
	s, n := breakState{Lease: true, Held: cacheRWH}.demand(cacheRH)
	if n != (breakNotice{true, cacheRWH, cacheRH, true, false}) {
		t.Fatalf("%+v", n)
	}
	s, n = s.demand(0)
	if n.Send {
		t.Fatalf("%+v", n)
	}
	s, n, _ = s.acknowledge(cacheRH)
	if n != (breakNotice{true, cacheRH, CacheRead, true, true}) {
		t.Fatalf("%+v", n)
	}
	s, n, _ = s.acknowledge(CacheRead)
	if n != (breakNotice{true, CacheRead, 0, false, true}) || s.Breaking || s.Held != 0 {
		t.Fatalf("%+v %+v", n, s)
	}
	// An oplock: level II is what it was told, none what is left ([MS-FSA] BREAK_TO_TWO_TO_NONE).
	s, _ = breakState{Held: cacheRWH}.demand(CacheRead)
	s, _ = s.demand(0)
	s, n, _ = s.acknowledge(CacheRead)
	if n != (breakNotice{true, CacheRead, 0, false, true}) || s.Held != 0 {
		t.Fatalf("%+v %+v", n, s)
	}
}
