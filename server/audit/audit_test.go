package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server"
)

func TestRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f, err := OpenFile(path, 30, 2)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		if _, err := fmt.Fprintf(f, "line %04d\n", i); err != nil {
			t.Fatal(err)
		}
		if i == 4 { // goes on where it stopped
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if f, err = OpenFile(path, 30, 2); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"": "line 0009\nline 0010\nline 0011\n", ".1": "line 0006\nline 0007\nline 0008\n", ".2": "line 0003\nline 0004\nline 0005\n",
	} {
		if b, err := os.ReadFile(path + name); err != nil || string(b) != want {
			t.Errorf("audit.log%s: %q, %v", name, b, err)
		}
	}
	if _, err := os.Stat(path + ".3"); err == nil {
		t.Error("more old files than asked for")
	}
	if info, _ := os.Stat(path); info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	if _, err := f.Write([]byte("late\n")); err == nil {
		t.Error("written after close")
	}
}

// A log that cannot be rotated goes on in its file.
func TestRotationFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	f, err := OpenFile(path, 10, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.MkdirAll(filepath.Join(path+".1", "in the way"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, _ = f.Write([]byte("first\n"))
	if _, err := f.Write([]byte("second\n")); err == nil {
		t.Error("nobody was told")
	}
	if b, _ := os.ReadFile(path); string(b) != "first\nsecond\n" {
		t.Errorf("%q", b)
	}
}

func TestRecords(t *testing.T) {
	var out bytes.Buffer
	l := New(&out, nil, nil)
	sid := dtyp.MakeSID(5, 21, 1, 2, 3, 1104)
	token := &auth.Token{User: sid, Groups: []auth.Group{{SID: dtyp.BuiltinBackupOperators, Attributes: auth.GroupDefault}}}
	who := &server.Identity{User: `DOM\veeam`, Token: token, Delegated: []string{"HV1$@DOM.TEST"}}
	from := netip.MustParseAddrPort("192.0.2.7:50000")
	l.PrivilegedOpen(&server.PrivilegedOpen{
		Who: who, Token: token, From: from, Share: "vms", Path: `vm1\disk.vhdx`, Intent: true,
		Asked: dtyp.FileReadData, Granted: dtyp.FileReadData, Gained: dtyp.FileReadData,
		Used: auth.PrivilegeSet(auth.SeBackup), Status: ntstatus.Success,
	})
	l.DelegatedLogon(who, from)
	var lines []map[string]any
	for line := range strings.Lines(out.String()) {
		m := map[string]any{}
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		delete(m, "time")
		lines = append(lines, m)
	}
	want := []map[string]any{
		{"level": "INFO", "msg": "open", "user": `DOM\veeam`, "sid": sid.String(), "from": "192.0.2.7:50000", "through": []any{"HV1$@DOM.TEST"},
			"share": "vms", "path": `vm1\disk.vhdx`, "intent": true,
			"asked": dtyp.FileReadData.String(), "granted": dtyp.FileReadData.String(), "gained": dtyp.FileReadData.String(),
			"by": []any{map[string]any{"privilege": "SeBackupPrivilege", "grants": []any{
				`backup-operator for BUILTIN\Backup Operators (S-1-5-32-551) on the array`}}},
			"result": "STATUS_SUCCESS"},
		{"level": "INFO", "msg": "delegated", "user": `DOM\veeam`, "sid": sid.String(), "from": "192.0.2.7:50000", "through": []any{"HV1$@DOM.TEST"}},
	}
	if !reflect.DeepEqual(lines, want) {
		t.Errorf("got  %v\nwant %v", lines, want)
	}
}

type broken struct{ err error }

func (b *broken) Write(p []byte) (int, error) { return len(p), b.err }

func TestLostLinesAreReportedOnce(t *testing.T) {
	var said bytes.Buffer
	w := &broken{errors.New("disk full")}
	l := New(w, nil, slog.New(slog.NewTextHandler(&said, nil)))
	l.Info("a")
	l.Info("b")
	w.err = nil
	l.Info("c")
	w.err = errors.New("disk full")
	l.Info("d")
	if n := strings.Count(said.String(), "disk full"); n != 2 {
		t.Errorf("said %d times:\n%s", n, said.String())
	}
}
