package memvol

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gabion/store"
)

// fold is what names are compared by. Bytes that are not valid UTF-8
// (unpaired surrogates) stand for themselves.
func fold(name string) string {
	var b strings.Builder
	b.Grow(len(name))
	for i := 0; i < len(name); {
		r, n := utf8.DecodeRuneInString(name[i:])
		if r == utf8.RuneError && n <= 1 {
			b.WriteByte(name[i])
			i++
			continue
		}
		if up := unicode.ToUpper(r); r <= 0xffff && up <= 0xffff && up != 0x130 {
			r = up
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// units is the length of name in UTF-16 code units. An unpaired surrogate is
// three bytes and one unit.
func units(name string) int {
	n := 0
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= 0xf0:
			n += 2
		case c < 0x80 || c >= 0xc0:
			n++
		}
	}
	return n
}

// checkName refuses what no entry may be called. What Windows forbids
// beyond this is the server's business.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..", units(name) > store.MaxNameLen,
		strings.ContainsAny(name, "\x00/\\"):
		return fmt.Errorf("%w: %q", store.ErrName, name)
	}
	return nil
}
