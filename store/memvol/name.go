package memvol

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"gabion/protocol/dtyp"
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

// checkName refuses what no entry may be called. What Windows forbids
// beyond this is the server's business.
func checkName(name string) error {
	switch {
	case name == "", name == ".", name == "..", dtyp.UTF16Len(name) > store.MaxNameLen,
		strings.ContainsAny(name, "\x00/\\"):
		return fmt.Errorf("%w: %q", store.ErrName, name)
	}
	return nil
}
