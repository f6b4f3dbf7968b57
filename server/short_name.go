package server

import (
	"hash/fnv"
	"strings"
)

// Volumes hold no 8.3 names ([MS-FSCC] 2.1.5.2.1). What is shown to those who ask for one
// is computed from the long name, so that it costs nothing to keep and is the same
// in a listing and in FileAlternateNameInformation.

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
func shortChar(c byte) bool {
	switch {
	case 'A' <= c && c <= 'Z', 'a' <= c && c <= 'z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'()-@^_`{}~", c) >= 0
}

// shortName is the 8.3 name shown beside name in a listing, "" if name is one itself.
func shortName(name string) string {
	if name == "." || name == ".." || is8dot3(name) {
		return ""
	}
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	h := fnv.New64a()
	h.Write([]byte(strings.ToUpper(name)))
	n := h.Sum64()
	b := make([]byte, 0, 12)
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
	return string(b)
}

// appendShort appends up to n characters of s that an 8.3 name may have.
func appendShort(b []byte, s string, n int) []byte {
	for i := 0; i < len(s) && n > 0; i++ {
		if c := s[i]; shortChar(c) && c != '~' {
			b = append(b, strings.ToUpper(s[i:i+1])...)
			n--
		}
	}
	return b
}

// alternateName is what FileAlternateNameInformation tells ([MS-FSCC] 2.4.5).
func alternateName(name string) string {
	if s := shortName(name); s != "" {
		return s
	}
	return strings.ToUpper(name)
}
