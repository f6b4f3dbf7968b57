package upcase

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"unicode/utf8"

	"gabion/protocol/dtyp"
)

// Table maps every UTF-16 code unit to its upper-case form. It is immutable and
// safe for concurrent use.
type Table struct {
	unit [1 << 16]uint16
}

// run maps lo, lo+step … hi each to itself plus delta.
type run struct {
	lo, hi uint16
	step   uint16
	delta  int32
}

// Default returns the table that new volumes get.
var Default = sync.OnceValue(func() *Table {
	t, err := fromRuns(simple)
	if err != nil {
		panic("upcase: built-in table: " + err.Error())
	}
	return t
})

// ErrTable reports a serialised table that is damaged.
var ErrTable = errors.New("upcase: malformed table")

func fromRuns(runs []run) (*Table, error) {
	t := new(Table)
	for i := range t.unit {
		t.unit[i] = uint16(i)
	}
	next := 0
	for _, r := range runs {
		if int(r.lo) < next || r.hi < r.lo || r.step == 0 {
			return nil, ErrTable
		}
		next = int(r.hi) + 1
		for u := int(r.lo); u <= int(r.hi); u += int(r.step) {
			to := u + int(r.delta)
			if to < 0 || to > 0xFFFF || isSurrogate(u) || isSurrogate(to) {
				return nil, ErrTable
			}
			t.unit[u] = uint16(to)
		}
	}
	for c := 0; c < utf8.RuneSelf; c++ { // Append's fast path relies on it
		want := c
		if 'a' <= c && c <= 'z' {
			want -= 'a' - 'A'
		}
		if int(t.unit[c]) != want {
			return nil, ErrTable
		}
	}
	return t, nil
}

func isSurrogate(u int) bool { return u >= 0xD800 && u < 0xE000 }

// Unit returns the upper-case form of one code unit.
func (t *Table) Unit(u uint16) uint16 { return t.unit[u] }

// rune upcases a code point; those outside the plane stay.
func (t *Table) rune(r rune) rune {
	if r > 0xFFFF {
		return r
	}
	return rune(t.unit[r])
}

// Append appends the key of name.
func (t *Table) Append(dst []byte, name string) []byte {
	for i := 0; i < len(name); {
		if c := name[i]; c < utf8.RuneSelf {
			dst = append(dst, asciiUpper(c))
			i++
			continue
		}
		r, n := dtyp.DecodeRune(name[i:])
		i += n
		dst = dtyp.AppendRune(dst, t.rune(r))
	}
	return dst
}

func asciiUpper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// Key returns the key of name; name itself when that is its own key.
func (t *Table) Key(name string) string {
	i := 0
	for i < len(name) && name[i] < utf8.RuneSelf && (name[i] < 'a' || name[i] > 'z') {
		i++
	}
	if i == len(name) {
		return name
	}
	var buf [256]byte
	b := append(buf[:0], name[:i]...)
	return string(t.Append(b, name[i:]))
}

// Equal reports whether two names have the same key.
func (t *Table) Equal(a, b string) bool { return a == b || t.Compare(a, b) == 0 }

// Compare orders two names as their keys order, without building the keys.
func (t *Table) Compare(a, b string) int {
	for a != "" && b != "" {
		ca, cb := a[0], b[0]
		if ca < utf8.RuneSelf && cb < utf8.RuneSelf {
			if ua, ub := asciiUpper(ca), asciiUpper(cb); ua != ub {
				return int(ua) - int(ub)
			}
			a, b = a[1:], b[1:]
			continue
		}
		ra, na := dtyp.DecodeRune(a)
		rb, nb := dtyp.DecodeRune(b)
		if ua, ub := t.rune(ra), t.rune(rb); ua != ub {
			return int(ua) - int(ub)
		}
		a, b = a[na:], b[nb:]
	}
	return len(a) - len(b)
}

// HasPrefix reports whether name begins with prefix, ignoring case.
func (t *Table) HasPrefix(name, prefix string) bool {
	return strings.HasPrefix(t.Key(name), t.Key(prefix))
}

const (
	formatVersion = 1
	runSize       = 10
	maxRuns       = 1 << 15
)

// Encode returns the serialised table, a few kilobytes that Decode reads.
func (t *Table) Encode() []byte {
	runs := t.runs()
	b := make([]byte, 0, 8+runSize*len(runs))
	b = binary.LittleEndian.AppendUint32(b, formatVersion)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(runs)))
	for _, r := range runs {
		b = binary.LittleEndian.AppendUint16(b, r.lo)
		b = binary.LittleEndian.AppendUint16(b, r.hi)
		b = binary.LittleEndian.AppendUint16(b, r.step)
		b = binary.LittleEndian.AppendUint32(b, uint32(r.delta))
	}
	return b
}

// runs finds the maximal runs of step 1 or 2 in the table.
func (t *Table) runs() []run {
	var runs []run
	for u := range t.unit {
		delta := int32(t.unit[u]) - int32(u)
		if delta == 0 {
			continue
		}
		if n := len(runs); n > 0 {
			r := &runs[n-1]
			gap := uint16(u) - r.hi
			if r.delta == delta && (r.lo == r.hi && gap <= 2 || gap == r.step) {
				if r.lo == r.hi {
					r.step = gap
				}
				r.hi = uint16(u)
				continue
			}
		}
		runs = append(runs, run{uint16(u), uint16(u), 1, delta})
	}
	return runs
}

// Decode reads what Encode wrote. It keeps no reference to b.
func Decode(b []byte) (*Table, error) {
	if len(b) < 8 || binary.LittleEndian.Uint32(b) != formatVersion {
		return nil, ErrTable
	}
	n := int(binary.LittleEndian.Uint32(b[4:]))
	if n > maxRuns || len(b) != 8+runSize*n {
		return nil, ErrTable
	}
	runs := make([]run, n)
	for i := range runs {
		p := b[8+runSize*i:]
		runs[i] = run{
			lo:    binary.LittleEndian.Uint16(p),
			hi:    binary.LittleEndian.Uint16(p[2:]),
			step:  binary.LittleEndian.Uint16(p[4:]),
			delta: int32(binary.LittleEndian.Uint32(p[6:])),
		}
	}
	return fromRuns(runs)
}
