package fscc

import (
	"strings"
	"unicode/utf8"

	"gabion/protocol/dtyp"
)

// The wildcards ([MS-FSA] 2.1.4.3, 2.1.4.4).
const (
	star    = '*' // zero or more characters
	qm      = '?' // one character
	dosStar = '<' // zero or more characters up to the final dot
	dosQM   = '>' // one character but a dot; none at a dot or the end
	dosDot  = '"' // a dot, or nothing at the end
)

// HasWildcards reports whether s contains a wildcard ([MS-FSA] 2.1.4.3).
func HasWildcards(s string) bool { return strings.ContainsAny(s, `"*<>?`) }

// Folder maps a UTF-16 code unit to its upper-case form; a volume's upcase
// table is one.
type Folder interface{ Unit(uint16) uint16 }

// MaxPattern is the longest pattern NewPattern takes, in code units; the cost of a
// match grows with the product of pattern and name.
const MaxPattern = 1024

// Pattern is a compiled search expression of QUERY_DIRECTORY. It is immutable.
type Pattern struct {
	kind patternKind
	unit []uint16 // upcased; for kindSuffix without the star
	fold Folder
}

type patternKind uint8

const (
	kindAll     patternKind = iota // everything matches
	kindLiteral                    // no wildcards
	kindSuffix                     // a star and no other wildcard
	kindGeneral
)

// NewPattern compiles an expression; fold is nil for a case-sensitive match.
// It returns ErrName for one that is too long.
func NewPattern(expr string, fold Folder) (*Pattern, error) {
	if dtyp.UTF16Len(expr) > MaxPattern {
		return nil, ErrName
	}
	p := &Pattern{fold: fold}
	p.unit = p.appendUnits(nil, expr)
	switch {
	case expr == "*" || expr == "*.*":
		p.kind = kindAll
	case !HasWildcards(expr):
		p.kind = kindLiteral
	case expr[0] == star && !HasWildcards(expr[1:]):
		p.kind, p.unit = kindSuffix, p.unit[1:]
	default:
		p.kind, p.unit = kindGeneral, mergeStars(p.unit)
	}
	return p, nil
}

// mergeStars makes one star of several in a row.
func mergeStars(u []uint16) []uint16 {
	out := u[:0]
	for i, c := range u {
		if c != star || i == 0 || u[i-1] != star {
			out = append(out, c)
		}
	}
	return out
}

// Literal reports that the pattern names one entry, which a server finds by
// lookup instead of by enumeration.
func (p *Pattern) Literal() bool { return p.kind == kindLiteral }

// All reports that every name matches.
func (p *Pattern) All() bool { return p.kind == kindAll }

// appendUnits appends the code units of s, upcased.
func (p *Pattern) appendUnits(u []uint16, s string) []uint16 {
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, n = dtyp.DecodeRune(s[i:])
		}
		i += n
		if r >= 0x10000 {
			r -= 0x10000
			u = append(u, uint16(0xD800+r>>10), uint16(0xDC00+r&0x3FF))
			continue
		}
		c := uint16(r)
		if p.fold != nil {
			c = p.fold.Unit(c)
		}
		u = append(u, c)
	}
	return u
}

// Match reports whether name matches ([MS-FSA] 2.1.4.4). It does not allocate
// for names of valid length.
func (p *Pattern) Match(name string) bool {
	if p.kind == kindAll {
		return name != ""
	}
	var buf [MaxFileName + 1]uint16
	u := p.appendUnits(buf[:0], name)
	switch p.kind {
	case kindLiteral:
		return equalUnits(u, p.unit)
	case kindSuffix:
		return len(u) >= len(p.unit) && len(u) > 0 && equalUnits(u[len(u)-len(p.unit):], p.unit)
	}
	return len(u) > 0 && p.run(u)
}

func equalUnits(a, b []uint16) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// states is a set of positions in a pattern, of which there are up to MaxPattern+1.
type states [MaxPattern/64 + 1]uint64

func (s *states) add(i int)      { s[i>>6] |= 1 << (i & 63) }
func (s *states) has(i int) bool { return s[i>>6]&(1<<(i&63)) != 0 }

// run follows all positions the pattern can be in at once, so that its cost is
// bounded by the product of the lengths, whatever the pattern.
func (p *Pattern) run(name []uint16) bool {
	lastDot := -1
	for i, c := range name {
		if c == '.' {
			lastDot = i
		}
	}
	var cur states
	cur.add(0)
	n := len(p.unit)
	for i, c := range name {
		var next states
		alive := false
		for s := 0; s < n; s++ {
			if !cur.has(s) {
				continue
			}
			stay, step, skip := wildcard(p.unit[s], c, i == lastDot)
			if stay {
				next.add(s)
			}
			if step {
				next.add(s + 1)
			}
			if skip { // without consuming c: a later position of the same round
				cur.add(s + 1)
			}
			alive = alive || stay || step
		}
		if !alive {
			return false
		}
		cur = next
	}
	return p.atEnd(&cur)
}

// wildcard says what pattern character e does on the name's character c: match
// it and stay, match it and step on, step on without matching it.
func wildcard(e, c uint16, finalDot bool) (stay, step, skip bool) {
	switch e {
	case star:
		return true, false, true
	case dosStar:
		return c != '.' || !finalDot, false, true
	case qm:
		return false, true, false
	case dosQM:
		return false, c != '.', c == '.'
	case dosDot:
		return false, c == '.', false
	}
	return false, e == c, false
}

// atEnd reports whether some position can reach the pattern's end without a
// further character.
func (p *Pattern) atEnd(cur *states) bool {
	for s := len(p.unit); s >= 0; s-- {
		if cur.has(s) {
			return true
		}
		if s == 0 {
			break
		}
		switch p.unit[s-1] {
		case star, dosStar, dosQM, dosDot:
		default:
			return false
		}
	}
	return false
}
