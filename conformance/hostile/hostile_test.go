package hostile_test

import (
	"os"
	"strings"
	"testing"

	"gabion/conformance/hostile"
)

// TestServer runs the suite against GABION_PEER=HOST:PORT,SHARE,USER,PASSWORD.
func TestServer(t *testing.T) {
	f := strings.SplitN(os.Getenv("GABION_PEER"), ",", 4)
	if len(f) != 4 {
		t.Skip("GABION_PEER is not set")
	}
	hostile.Run(t, hostile.Target{Addr: f[0], Share: f[1], User: f[2], Password: f[3]})
}

func TestNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range hostile.Cases() {
		if seen[c.Name] || c.Run == nil {
			t.Errorf("%q", c.Name)
		}
		seen[c.Name] = true
	}
}
