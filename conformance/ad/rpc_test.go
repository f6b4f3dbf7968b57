package ad

import (
	"net"
	"strings"
	"testing"
)

// RPC authenticated, signed and sealed at its own level, as backup products insist on:
// Samba's client speaks Kerberos in DCE style with header signing. Names and SIDs of the
// domain are found, as Explorer's security page asks for them.
func TestRPCOverKerberos(t *testing.T) {
	a := newArray(t)
	cache := a.domain.Kinit(t, "alice")
	_, port, _ := net.SplitHostPort(a.addr)
	for _, options := range []string{"", "krb5,connect", "krb5,sign", "krb5,seal", "spnego,sign", "spnego,seal"} {
		cmd := a.domain.Command(cache, "rpcclient", "ncacn_np:"+Host+"["+options+"]", "-p", port, "--use-kerberos=required", "--use-krb5-ccache="+cache,
			"-c", `netshareenum 1; getusername; lookupnames GABION\\HV1$; lookupsids `+a.domain.SIDs["Hyper-V Hosts"])
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("[%s]: %v\n%s", options, err, out)
		}
		for _, want := range []string{"vms", "Account Name: alice, Authority Name: GABION", a.domain.SIDs["HV1$"] + " (Computer", `GABION\Hyper-V Hosts (`} {
			if !strings.Contains(string(out), want) {
				t.Errorf("[%s]: %q is missing in\n%s", options, want, out)
			}
		}
	}
}
