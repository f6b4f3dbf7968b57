package ad

import (
	"net"
	"strings"
	"testing"

	"gabion/auth"
)

// sessions are smbtorture's tests of sessions that a ticket limits, and what they
// come to here. Samba's own member server passes all but reauth5.
var sessions = []struct{ test, want, why string }{
	{"smb2.session.expire1n", "success", ""},
	{"smb2.session.expire1s", "success", ""},
	{"smb2.session.expire1e", "success", ""},
	{"smb2.session.expire2s", "success", ""},
	{"smb2.session.expire2e", "success", ""},
	{"smb2.session.expire_disconnect", "success", ""},
	{"smb2.session.reauth1", "success", ""},
	{"smb2.session.reauth2", "success", ""},
	{"smb2.session.reauth3", "success", ""},
	{"smb2.session.reauth4", "success", ""},
	{"smb2.session.reauth5", "failure", "it wants a delete refused by the new identity to work; Samba fails it too"},
	{"smb2.session.reauth6", "skip", "it cannot make a Kerberos logon fail"},
	{"smb2.session-require-signing.bug15397", "success", ""},
}

func TestTortureSessions(t *testing.T) {
	// reauth authenticates again as nobody.
	a := newArrayWith(t, []auth.Mechanism{&auth.NTLM{Name: "FILESRV", Anonymous: true}}, true)
	_, port, _ := net.SplitHostPort(a.addr)
	run := func(test string) []byte {
		cmd := a.domain.Command("", "smbtorture", "//"+Host+"/vms", "-p", port, "-U", "alice@GABION.TEST%"+a.domain.Password("alice"),
			"-k", "yes", "--realm=GABION.TEST", "--workgroup=GABION", "--basedir="+t.TempDir(), "--option=torture:progress=no",
			"--target=samba3", test)
		out, _ := cmd.CombinedOutput()
		return out
	}
	// They mostly wait for tickets to expire, so all run at once.
	outputs := make([]chan []byte, len(sessions))
	for i, tt := range sessions {
		outputs[i] = make(chan []byte, 1)
		go func() { outputs[i] <- run(tt.test) }()
	}
	var again []int
	for i, tt := range sessions {
		if out := <-outputs[i]; verdict(out) != tt.want {
			again = append(again, i)
			t.Logf("AGAIN %s: %s, expected %s\n%s", tt.test, verdict(out), tt.want, out)
		}
	}
	// Their tickets last for a few seconds from when the domain controller gave them: with all of them at
	// once that may be over before a test has begun, which is no verdict. By itself it has to pass.
	for _, i := range again {
		tt := sessions[i]
		if out := run(tt.test); verdict(out) != tt.want {
			t.Errorf("%s: %s, expected %s (%s)\n%s", tt.test, verdict(out), tt.want, tt.why, out)
		}
	}
}

// verdict is the result that subunit's lines tell.
func verdict(out []byte) string {
	for line := range strings.Lines(string(out)) {
		for _, r := range []string{"success", "failure", "error", "skip"} {
			if strings.HasPrefix(line, r+": ") {
				return r
			}
		}
	}
	return "nothing"
}
