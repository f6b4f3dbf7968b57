package object

import (
	"errors"
	"strings"

	"gabion/store"
)

// Volumes hold no 8.3 names ([MS-FSCC] 2.1.5.2.1). What is shown to those who ask for one
// is computed from the long name, so that it costs nothing to keep and is the same
// in a listing and in FileAlternateNameInformation. Who opens a file by such a name pays
// for a search of the directory.

// is8dot3 reports whether name needs no other short name than itself.
func is8dot3(name string) bool {
	base, ext, dot := strings.Cut(name, ".")
	if base == "" || len(base) > 8 || len(ext) > 3 || dot && ext == "" {
		return false
	}
	for i := 0; i < len(base); i++ {
		if !shortChar(base[i]) {
			return false
		}
	}
	for i := 0; i < len(ext); i++ {
		if !shortChar(ext[i]) {
			return false
		}
	}
	return true
}

// shortChar reports whether c may occur in an 8.3 name.
func shortChar(c byte) bool { return shortChars[c] }

var shortChars = func() (set [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'()-@^_`{}~") {
		set[c] = true
	}
	return set
}()

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		c -= 'a' - 'A'
	}
	return c
}

// shortHash is FNV-1a over the upper case of name. Listings compute it for every entry.
func shortHash(name string) uint64 {
	const prime, basis = 1099511628211, 14695981039346656037
	for i := range len(name) {
		if name[i] >= 0x80 {
			name = strings.ToUpper(name)
			break
		}
	}
	h := uint64(basis)
	for i := range len(name) {
		h = (h ^ uint64(upper(name[i]))) * prime
	}
	return h
}

// ShortName is the 8.3 name shown beside name in a listing, "" if name is one itself.
func ShortName(name string) string { return string(AppendShortName(make([]byte, 0, 12), name)) }

// AppendShortName appends ShortName to b.
func AppendShortName(b []byte, name string) []byte {
	if name == "." || name == ".." || is8dot3(name) {
		return b
	}
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	n := shortHash(name)
	b = appendShort(b, name, 1)
	for range 5 {
		b = append(b, digits[n%36])
		n /= 36
	}
	b = append(b, '~', digits[n%36])
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		b = append(b, '.')
		if at := len(b); len(appendShort(b, name[i+1:], 3)) > at {
			b = appendShort(b, name[i+1:], 3)
		} else {
			b = b[:at-1]
		}
	}
	return b
}

// appendShort appends up to n characters of s that an 8.3 name may have.
func appendShort(b []byte, s string, n int) []byte {
	for i := 0; i < len(s) && n > 0; i++ {
		if c := s[i]; shortChar(c) && c != '~' {
			b = append(b, upper(c))
			n--
		}
	}
	return b
}

// AlternateName is what FileAlternateNameInformation tells ([MS-FSCC] 2.4.5).
func AlternateName(name string) string {
	if s := ShortName(name); s != "" {
		return s
	}
	return strings.ToUpper(name)
}

// tilde is where a computed short name has its tilde.
const tilde = 6

// computedShort reports whether name looks like what ShortName computes.
func computedShort(name string) bool {
	return len(name) > tilde && len(name) <= 12 && name[tilde] == '~'
}

// open is store.Volume.Open that also takes the short name of an entry.
func (v *Volume) open(dir store.Node, name string) (store.Node, store.Entry, error) {
	n, e, err := v.store.Open(dir, name)
	if err == nil || !computedShort(name) || !errors.Is(err, store.ErrNotFound) {
		return n, e, err
	}
	long := v.longName(dir, strings.ToUpper(name))
	if long == "" {
		return n, e, err
	}
	return v.store.Open(dir, long)
}

// longName finds the one entry of dir with a short name; "" if there are none or several.
func (v *Volume) longName(dir store.Node, short string) string {
	const batch = 256
	var entries []store.Entry
	found, after := "", ""
	for {
		var err error
		if entries, err = v.store.ReadDir(dir, after, batch, entries[:0]); err != nil {
			return ""
		}
		for i := range entries {
			if ShortName(entries[i].Name) != short {
				continue
			}
			if found != "" {
				return ""
			}
			found = entries[i].Name
		}
		if len(entries) < batch {
			return found
		}
		after = entries[len(entries)-1].Name
	}
}
