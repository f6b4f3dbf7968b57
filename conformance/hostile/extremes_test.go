package hostile

import (
	"testing"

	"gabion/conformance/client"
	"gabion/protocol/smb2"
)

// The variants are all tried, also over several connections.
func TestVariants(t *testing.T) {
	bodies := sessionBodies(&client.File{})
	count := func(first int) (n int) {
		variants(bodies, first, func(smb2.Message, string, func([]byte) []byte) bool { n++; return true })
		return n
	}
	all := count(0)
	if all < 2000 || count(all-7) != 7 || count(all) != 0 {
		t.Errorf("%d variants, %d and %d behind the last ones", all, count(all-7), count(all))
	}
	if all := variants(bodies, 3, func(smb2.Message, string, func([]byte) []byte) bool { return false }); all {
		t.Error("stopped, and yet all")
	}
}
