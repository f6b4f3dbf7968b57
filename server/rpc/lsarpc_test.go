package rpc

import (
	"encoding/hex"
	"testing"

	"gabion/auth"
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/lsarpc"
	"gabion/protocol/srvsvc"
	"gabion/store/memvol"
)

func TestAccounts(t *testing.T) {
	users, err := auth.OpenUsers(memvol.New(memvol.Options{}), make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	bob, err := users.Add("bob", "Passw0rd", "Users")
	if err != nil {
		t.Fatal(err)
	}
	a := Accounts{Domain: "ARRAY", Users: users}
	for _, c := range []struct {
		name string
		sid  dtyp.SID
		use  dtyp.SIDNameUse
	}{
		{"bob", bob.SID, dtyp.SIDTypeUser}, {`array\BOB`, bob.SID, dtyp.SIDTypeUser}, {"bob@array", bob.SID, dtyp.SIDTypeUser},
		{`.\bob`, bob.SID, dtyp.SIDTypeUser}, {"ARRAY", users.Machine(), dtyp.SIDTypeDomain},
		{"everyone", dtyp.Everyone, dtyp.SIDTypeWellKnownGroup}, {`NT AUTHORITY\SYSTEM`, dtyp.LocalSystem, dtyp.SIDTypeWellKnownGroup},
		{`BUILTIN\Administrators`, dtyp.BuiltinAdministrators, dtyp.SIDTypeAlias}, {`BUILTIN\`, dtyp.Builtin, dtyp.SIDTypeDomain},
		{"", dtyp.Builtin, dtyp.SIDTypeDomain},
		{"nobody", dtyp.SID{}, dtyp.SIDTypeUnknown}, {`OTHER\bob`, dtyp.SID{}, dtyp.SIDTypeUnknown},
		{`NT AUTHORITY\BOGUS`, dtyp.SID{}, dtyp.SIDTypeUnknown},
	} {
		got := a.ByName(t.Context(), c.name)
		if got.SID != c.sid || got.Use != c.use {
			t.Errorf("%q: %+v", c.name, got)
		}
		if c.use == dtyp.SIDTypeUnknown {
			continue
		}
		if back := a.BySID(t.Context(), c.sid); back.SID != c.sid || back.Use != c.use || back.Name != got.Name || back.Domain != got.Domain {
			t.Errorf("%v: %+v", c.sid, back)
		}
	}
	gone := a.BySID(t.Context(), users.Machine().WithRID(9999))
	if gone.Use != dtyp.SIDTypeUnknown || gone.Domain != "ARRAY" {
		t.Errorf("a removed user: %+v", gone)
	}
}

// lsaCall runs one operation of an association.
func lsaCall(t *testing.T, a *association, opnum uint16, stub []byte) ([]byte, uint32) {
	t.Helper()
	return lsarpcOps[opnum](a, dcerpc.Stub{Data: stub})
}

func TestPolicyHandlesBelongToTheirAssociation(t *testing.T) {
	user := Caller{User: "bob", Domain: "ARRAY"}
	mine := &association{backend: fakeArray{}, caller: user}
	other := &association{backend: fakeArray{}, caller: user}
	open := make([]byte, 64)
	answer, fault := lsaCall(t, mine, lsarpc.OpOpenPolicy2, open)
	if fault != 0 {
		t.Fatalf("fault %#x", fault)
	}
	handle := answer[:20]
	query := append(append([]byte(nil), handle...), lsarpc.PolicyAccountDomain, 0)
	if _, fault := lsaCall(t, mine, lsarpc.OpQueryInformationPolicy, query); fault != 0 {
		t.Errorf("own handle: fault %#x", fault)
	}
	if _, fault := lsaCall(t, other, lsarpc.OpQueryInformationPolicy, query); fault != dcerpc.FaultContextMismatch {
		t.Errorf("another's handle: fault %#x", fault)
	}
	closed, fault := lsaCall(t, mine, lsarpc.OpClose, handle)
	if fault != 0 || hex.EncodeToString(closed) != "000000000000000000000000000000000000000000000000" {
		t.Errorf("close: %x, fault %#x", closed, fault)
	}
	if _, fault := lsaCall(t, mine, lsarpc.OpQueryInformationPolicy, query); fault != dcerpc.FaultContextMismatch {
		t.Errorf("closed handle: fault %#x", fault)
	}
	for range maxHandles + 5 {
		lsaCall(t, mine, lsarpc.OpOpenPolicy, open)
	}
	if len(mine.policies) > maxHandles {
		t.Errorf("%d handles", len(mine.policies))
	}
	nobody := &association{backend: fakeArray{}, caller: Caller{Anonymous: true}}
	lsaCall(t, nobody, lsarpc.OpOpenPolicy, open)
	if len(nobody.policies) != 0 {
		t.Error("an anonymous caller got a policy")
	}
}

func TestRolesOnShares(t *testing.T) {
	name, err := hex.DecodeString("00000000" + "02000000" + "00000000" + "02000000" + "78000000")
	if err != nil {
		t.Fatal(err)
	}
	// Level 1006, no limit.
	set := append(append([]byte(nil), name...), 0xee, 3, 0, 0, 0xee, 3, 0, 0, 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff)
	sessions, err := hex.DecodeString("00000000" + "00000000" + "00000000" + "0a000000" + "0a000000" + "00000000" + "ffffffff" + "00000000")
	if err != nil {
		t.Fatal(err)
	}
	for _, role := range append([]auth.Role{0}, auth.AllRoles...) {
		var held auth.RoleSet
		if role != 0 {
			held = auth.RolesOf(role)
		}
		a := &association{backend: fakeArray{shares: []srvsvc.Share{{Name: "x"}}}, caller: Caller{User: "bob", Roles: held}}
		for _, c := range []struct {
			what string
			op   operation
			stub []byte
			may  bool
		}{
			{"delete", shareDel, name, role >= auth.RoleStorageAdmin},
			{"change", shareSetInfo, set, role >= auth.RoleStorageAdmin},
			{"list sessions", sessionEnum, sessions, role == auth.RoleReadOnly || role >= auth.RoleBackupOperator},
		} {
			b, fault := c.op(a, dcerpc.Stub{Data: c.stub})
			if fault != 0 || len(b) < 4 || (b[len(b)-4] != srvsvc.AccessDenied) != c.may {
				t.Errorf("%s by %v: %x, fault %#x", c.what, role, b, fault)
			}
		}
	}
}
