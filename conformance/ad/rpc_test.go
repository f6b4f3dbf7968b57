package ad

import (
	"net"
	"strings"
	"testing"

	"gabion/auth"
	"gabion/protocol/dtyp"
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

// A Hyper-V host backs up as its computer account, by the role its group holds; RPC is signed
// or sealed by Kerberos. Others are refused.
func TestShadowCopiesOverKerberos(t *testing.T) {
	a := newArray(t)
	hosts, err := dtyp.ParseSID(a.domain.SIDs["Hyper-V Hosts"])
	if err != nil {
		t.Fatal(err)
	}
	if err := a.roles.Grant(auth.Grant{Role: auth.RoleBackupOperator, SID: hosts}); err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(a.addr)
	fss := func(who, options, command string) string {
		cache := a.domain.Kinit(t, who)
		out, _ := a.domain.Command(cache, "rpcclient", "ncacn_np:"+Host+"["+options+"]", "-p", port, "--use-kerberos=required",
			"--use-krb5-ccache="+cache, "-c", command).CombinedOutput()
		return string(out)
	}
	for _, options := range []string{"krb5,sign", "krb5,seal", "spnego,seal"} {
		if out := fss("HV1$", options, "fss_create_expose backup ro vms"); !strings.Contains(out, "exposed as a snapshot of") {
			t.Errorf("HV1$ [%s]:\n%s", options, out)
		}
	}
	for who, options := range map[string]string{"alice": "krb5,seal", "HV1$": "krb5,connect"} {
		if out := fss(who, options, "fss_is_path_sup vms"); !strings.Contains(out, "0x80070005") {
			t.Errorf("%s [%s]:\n%s", who, options, out)
		}
	}
}
