package ad

import (
	"net"
	"strings"
	"testing"
)

// RPC authenticated, signed and sealed at its own level, as backup products insist on.
func TestRPCOverKerberos(t *testing.T) {
	a := newArray(t)
	cache := a.domain.Kinit(t, "alice")
	_, port, _ := net.SplitHostPort(a.addr)
	for _, options := range []string{"", "krb5,connect", "krb5,sign", "krb5,seal", "spnego,sign", "spnego,seal"} {
		cmd := a.domain.Command(cache, "rpcclient", "ncacn_np:"+Host+"["+options+"]", "-p", port, "--use-kerberos=required", "--use-krb5-ccache="+cache,
			"-c", "netshareenum 1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "vms") {
			t.Errorf("[%s]: %v\n%s", options, err, out)
		}
	}
}
