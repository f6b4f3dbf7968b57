package admin

import (
	"fmt"
	"strconv"
	"strings"
)

// ParseSize reads a size in bytes with an optional K, M, G or T (powers of 1024).
func ParseSize(s string) (int64, error) {
	text := strings.TrimSuffix(strings.TrimSuffix(strings.ToUpper(s), "B"), "I")
	shift := 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGTP", text[n-1]); i >= 0 {
			shift, text = 10*(i+1), text[:n-1]
		}
	}
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil || v < 0 || v > (1<<62)>>shift {
		return 0, fmt.Errorf("%q is not a size; write bytes or 500G, 2T", s)
	}
	return v << shift, nil
}
