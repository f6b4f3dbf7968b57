package lsarpc

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// golden returns a stub captured from rpcclient and smbd.
func golden(t testing.TB, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".hex"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := hex.DecodeString(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	machine = dtyp.MustParseSID("S-1-5-21-3210248274-458614929-1910455885")
	root    = Account{SID: machine.WithRID(1000), Name: "root", Domain: "REFSRV", DomainSID: machine, Use: dtyp.SIDTypeUser}
	unknown = Account{Use: dtyp.SIDTypeUnknown}
	builtin = Account{SID: dtyp.Builtin, Domain: "BUILTIN", DomainSID: dtyp.Builtin, Use: dtyp.SIDTypeDomain}
)

func TestRequestsOfARealClient(t *testing.T) {
	for _, name := range []string{"open_policy_request", "open_policy2_request"} {
		if access, err := DecodeOpenPolicy(dcerpc.Stub{Data: golden(t, name)}); err != nil || access == 0 {
			t.Errorf("%s: %v, %v", name, access, err)
		}
	}
	if h, err := DecodeHandle(dcerpc.Stub{Data: golden(t, "close_request")}); err != nil || h.UUID.IsZero() {
		t.Errorf("close: %v, %v", h, err)
	}
	if _, class, err := DecodeQueryPolicy(dcerpc.Stub{Data: golden(t, "query_policy_request")}); err != nil || class != PolicyPrimaryDomain {
		t.Errorf("query policy: %d, %v", class, err)
	}
	if domain, err := DecodeGetUserName(dcerpc.Stub{Data: golden(t, "get_user_name_request")}); err != nil || !domain {
		t.Errorf("get user name: %v, %v", domain, err)
	}
	for _, c := range []struct {
		name string
		form Form
		want string
	}{
		{"lookup_names_request", Form1, "root"}, {"lookup_names2_request", Form2, "BUILTIN"},
		{"lookup_names3_request", Form3, "BUILTIN"}, {"lookup_names4_request", Form4, "root"},
	} {
		q, err := DecodeLookupNames(dcerpc.Stub{Data: golden(t, c.name)}, c.form)
		if err != nil || len(q.Names) != 1 || q.Names[0] != c.want || q.Level != 1 || q.Handle.UUID.IsZero() != (c.form == Form4) {
			t.Errorf("%s: %+v, %v", c.name, q, err)
		}
	}
	q, err := DecodeLookupSids(dcerpc.Stub{Data: golden(t, "lookup_sids_request")}, Form1)
	want := []dtyp.SID{dtyp.Everyone, dtyp.BuiltinAdministrators, dtyp.LocalSystem}
	if err != nil || !reflect.DeepEqual(q.SIDs, want) || q.Level != 1 {
		t.Errorf("look-up of SIDs: %+v, %v", q, err)
	}
}

func TestResponsesEqualTheReference(t *testing.T) {
	everyone := Account{SID: dtyp.Everyone, Name: "Everyone", DomainSID: dtyp.MakeSID(1), Use: dtyp.SIDTypeWellKnownGroup}
	admins := Account{SID: dtyp.BuiltinAdministrators, Name: "Administrators", Domain: "BUILTIN", DomainSID: dtyp.Builtin, Use: dtyp.SIDTypeAlias}
	odd := builtin // the reference gives this domain the SID of what is above it
	odd.DomainSID = dtyp.NTAuthority
	system := Account{SID: dtyp.LocalSystem, Name: "SYSTEM", Domain: "NT Authority", DomainSID: dtyp.NTAuthority, Use: dtyp.SIDTypeWellKnownGroup}
	for _, c := range []struct {
		name string
		got  []byte
	}{
		{"lookup_names_response", EncodeLookupNames(Form1, []Account{root}, ntstatus.Success)},
		{"lookup_names_none", EncodeLookupNames(Form1, []Account{unknown}, ntstatus.NoneMapped)},
		{"lookup_names2_response", EncodeLookupNames(Form2, []Account{builtin}, ntstatus.Success)},
		{"lookup_names3_response", EncodeLookupNames(Form3, []Account{odd}, ntstatus.Success)},
		{"lookup_sids_response", EncodeLookupSids(Form1, []Account{everyone, admins, system}, ntstatus.Success)},
		{"query_policy_response", EncodeQueryPolicy(PolicyPrimaryDomain, &Policy{PrimaryDomain: "WORKGROUP"}, ntstatus.Success)},
		{"get_user_name_response", EncodeGetUserName("root", "REFSRV", true, ntstatus.Success)},
	} {
		if want := golden(t, c.name); !bytes.Equal(renumber(c.got), renumber(want)) {
			t.Errorf("%s:\n got %x\nwant %x", c.name, c.got, want)
		}
	}
}

// renumber gives referent ids, which are arbitrary, the order of their appearance.
func renumber(b []byte) []byte {
	b = bytes.Clone(b)
	next := byte(0)
	for i := 0; i+4 <= len(b); i += 4 {
		if b[i+1] == 0 && b[i+2] == 2 && b[i+3] == 0 {
			next++
			b[i] = next
		}
	}
	return b
}

func TestALookUpThatFailsReturnsNothing(t *testing.T) {
	b := EncodeLookupSids(Form1, []Account{root}, ntstatus.AccessDenied)
	if bytes.Contains(b, dtyp.EncodeUTF16("root")) {
		t.Errorf("% x", b)
	}
}

func FuzzRequests(f *testing.F) {
	entries, err := filepath.Glob("testdata/*_request.hex")
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range entries {
		f.Add(golden(f, strings.TrimSuffix(filepath.Base(e), ".hex")))
	}
	f.Fuzz(func(t *testing.T, stub []byte) {
		DecodeOpenPolicy(dcerpc.Stub{Data: stub})
		DecodeHandle(dcerpc.Stub{Data: stub})
		DecodeQueryPolicy(dcerpc.Stub{Data: stub})
		DecodeGetUserName(dcerpc.Stub{Data: stub})
		for form := Form1; form <= Form4; form++ {
			if q, err := DecodeLookupNames(dcerpc.Stub{Data: stub}, form); err == nil && len(q.Names) > MaxNames {
				t.Fatal("too many names")
			}
			if q, err := DecodeLookupSids(dcerpc.Stub{Data: stub}, form); err == nil && len(q.SIDs) > MaxSids {
				t.Fatal("too many SIDs")
			}
		}
	})
}
