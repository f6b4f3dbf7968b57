package dtyp

import (
	"encoding/binary"
	"unicode/utf8"
)

// Names travel as UTF-16LE and may hold surrogates without a partner: NTFS and
// its clients treat a name as a row of 16-bit numbers. Go strings in this program
// are therefore WTF-8: UTF-8, plus an unpaired surrogate written as the three
// bytes that UTF-8 would use for it if it were allowed to. Every row of code
// units has exactly one WTF-8 form and comes back from it unchanged.

const (
	surrHigh = 0xD800
	surrLow  = 0xDC00
	surrEnd  = 0xE000

	asciiMask = 0xFF80FF80FF80FF80 // bits that no ASCII code unit sets
)

// AppendUTF16 appends the UTF-16LE form of the WTF-8 string s. Bytes that are
// not WTF-8 become U+FFFD.
func AppendUTF16(dst []byte, s string) []byte {
	for i := 0; i < len(s); {
		if c := s[i]; c < utf8.RuneSelf {
			dst = append(dst, c, 0)
			i++
			continue
		}
		r, n := DecodeRune(s[i:])
		i += n
		if r >= 0x10000 {
			r -= 0x10000
			hi, lo := surrHigh+r>>10, surrLow+r&0x3FF
			dst = append(dst, byte(hi), byte(hi>>8), byte(lo), byte(lo>>8))
			continue
		}
		dst = append(dst, byte(r), byte(r>>8))
	}
	return dst
}

// EncodeUTF16 returns the UTF-16LE form of the WTF-8 string s.
func EncodeUTF16(s string) []byte {
	return AppendUTF16(make([]byte, 0, 2*len(s)), s)
}

// UTF16Len returns the number of UTF-16 code units of the WTF-8 string s; on
// the wire it takes twice as many bytes.
func UTF16Len(s string) int {
	n := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			i++
			n++
			continue
		}
		r, size := DecodeRune(s[i:])
		i += size
		n++
		if r >= 0x10000 {
			n++
		}
	}
	return n
}

// AppendString appends the WTF-8 form of the UTF-16LE bytes b. An odd last
// byte is ignored; message decoders reject odd lengths before they get here.
func AppendString(dst, b []byte) []byte {
	for len(b) >= 8 {
		v := binary.LittleEndian.Uint64(b)
		if v&asciiMask != 0 {
			break
		}
		dst = append(dst, byte(v), byte(v>>16), byte(v>>32), byte(v>>48))
		b = b[8:]
	}
	for len(b) >= 2 {
		u := rune(b[0]) | rune(b[1])<<8
		b = b[2:]
		if u < utf8.RuneSelf {
			dst = append(dst, byte(u))
			continue
		}
		if u >= surrHigh && u < surrLow && len(b) >= 2 {
			if lo := rune(b[0]) | rune(b[1])<<8; lo >= surrLow && lo < surrEnd {
				u = 0x10000 + (u-surrHigh)<<10 + (lo - surrLow)
				b = b[2:]
			}
		}
		dst = AppendRune(dst, u)
	}
	return dst
}

// DecodeUTF16 returns the UTF-16LE bytes b as a WTF-8 string, with one
// allocation for names of usual length.
func DecodeUTF16(b []byte) string {
	var buf [256]byte
	return string(AppendString(buf[:0], b))
}

// AppendRune appends r in WTF-8; unlike utf8.AppendRune it keeps surrogates.
func AppendRune(dst []byte, r rune) []byte {
	if r >= surrHigh && r < surrEnd {
		return append(dst, 0xE0|byte(r>>12), 0x80|byte(r>>6)&0x3F, 0x80|byte(r)&0x3F)
	}
	return utf8.AppendRune(dst, r)
}

// DecodeRune returns the first code point of a WTF-8 string and its length in
// bytes; unlike utf8.DecodeRuneInString it returns surrogates as themselves. A
// byte that is not WTF-8 is U+FFFD of length 1; the empty string has length 0.
func DecodeRune(s string) (rune, int) {
	r, n := utf8.DecodeRuneInString(s)
	if r != utf8.RuneError || n != 1 {
		return r, n
	}
	if len(s) >= 3 && s[0] == 0xED && s[1] >= 0xA0 && s[1] <= 0xBF && s[2]&0xC0 == 0x80 {
		return 0xD000 | rune(s[1]&0x3F)<<6 | rune(s[2]&0x3F), 3
	}
	return r, n
}
