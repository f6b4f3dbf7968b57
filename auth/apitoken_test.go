package auth

import (
	"errors"
	"strings"
	"testing"
	"time"

	"gabion/store/memvol"
)

func TestAPITokens(t *testing.T) {
	vol := memvol.New(memvol.Options{})
	now := time.Date(2027, 1, 31, 10, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	a, err := OpenAPITokens(vol, clock)
	if err != nil {
		t.Fatal(err)
	}
	secret, made, err := a.Create("backup", RoleVMOperator, "vms/dev", time.Hour, "me")
	if err != nil {
		t.Fatal(err)
	}
	got, err := a.Check(secret)
	if err != nil || got.ID != made.ID || !got.Held("vms/dev/disk").Has(RoleVMOperator) || got.Held("vms").Has(RoleVMOperator) || got.Held("vms/dev").Has(RoleStorageAdmin) {
		t.Errorf("%+v %v", got, err)
	}
	for _, bad := range []string{"", "x", secret[:len(secret)-1], secret + "x", strings.ToUpper(secret), tokenPrefix + made.ID + "_", tokenPrefix + "none_x"} {
		if _, err := a.Check(bad); !errors.Is(err, ErrBadToken) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	// What is kept is no secret, and is known after a restart.
	for _, l := range a.List() {
		if l.Hash != nil {
			t.Error("a hash is listed")
		}
	}
	key := secret[strings.LastIndexByte(secret[:len(tokenPrefix)+17], '_')+1:]
	_ = vol.KV().Scan(tokenBucket, "", func(_ string, v []byte) bool {
		if strings.Contains(string(v), key) {
			t.Error("the secret is kept")
		}
		return true
	})
	again, err := OpenAPITokens(vol, clock)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := again.Check(secret); err != nil {
		t.Errorf("after a restart: %v", err)
	}
	now = now.Add(time.Hour)
	if _, err := again.Check(secret); !errors.Is(err, ErrBadToken) {
		t.Errorf("expired: %v", err)
	}
	second, made2, err := again.Create("two", RoleReadOnly, "", time.Hour, "me")
	if err != nil || len(again.List()) != 1 {
		t.Errorf("expired ones are forgotten: %v %v", again.List(), err)
	}
	if err := again.Revoke(made2.ID); err != nil {
		t.Error(err)
	}
	if _, err := again.Check(second); !errors.Is(err, ErrBadToken) {
		t.Errorf("revoked: %v", err)
	}
	if err := again.Revoke(made2.ID); !errors.Is(err, ErrNoToken) {
		t.Error(err)
	}
	for _, valid := range []time.Duration{0, -1, MaxTokenTime + 1} {
		if _, _, err := again.Create("x", RoleReadOnly, "", valid, ""); err == nil {
			t.Errorf("valid for %v", valid)
		}
	}
}
