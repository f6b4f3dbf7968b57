package sqos

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"gabion/conformance/client"
	"gabion/conformance/rig"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/sqos"
)

func start(t testing.TB, args ...string) (*rig.Server, Server) {
	t.Helper()
	s := rig.Start(t, args...)
	return s, serverOf(s)
}

func serverOf(s *rig.Server) Server {
	return Server{Addr: s.Addr, Share: "vms", Credentials: client.Credentials{User: rig.User, Password: rig.Password}}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// gabion runs a verb.
func gabion(t testing.TB, s *rig.Server, args ...string) string {
	t.Helper()
	out, stderr, err := s.Command(args...)
	if err != nil {
		t.Fatalf("gabion %s: %v\n%s", strings.Join(args, " "), err, stderr)
	}
	return out
}

// policy makes a policy by the command line.
func policy(t testing.TB, s *rig.Server, name, kind string, id dtyp.GUID, minimum, maximum, bandwidth int) {
	t.Helper()
	gabion(t, s, "qos", "policy", "create", name, "--type", kind, "--id", id.String(), "--minimum", fmt.Sprint(minimum),
		"--maximum", fmt.Sprint(maximum), "--bandwidth", fmt.Sprint(bandwidth))
}

func TestCases(t *testing.T) {
	if len(Cases) != 13 {
		t.Fatalf("%d cases", len(Cases))
	}
	s, hosts := start(t)
	policy(t, s, "suite", "dedicated", PolicyID, PolicyMinimum, PolicyMaximum, PolicyBandwidth)
	for _, v := range []wire.Version{wire.Version10, wire.Version11} {
		for _, c := range Cases {
			t.Run(c.Name+"/"+v.String(), func(t *testing.T) {
				if err := hosts.Do(c, v); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The suite's detector: the highest version first, no policy.
func TestDetector(t *testing.T) {
	_, hosts := start(t)
	_, d := open(t, hosts, "test.vhdx")
	for _, v := range []wire.Version{wire.Version11, wire.Version10} {
		r, err := d.Control(Say{Request: wire.Request{Version: v, Options: wire.SetLogicalFlowID | wire.GetStatus, FlowID: dtyp.NewGUID()}})
		if err != nil || r == nil || r.Version != v || r.MaximumIoRate != 0 || r.Status != wire.StatusOk {
			t.Errorf("%v: %+v, %v", v, r, err)
		}
	}
}

// A server without it says so, and virtual machines start all the same.
func TestSwitchedOff(t *testing.T) {
	s, hosts := start(t, "--qos", "off")
	_, d := open(t, hosts, "test.vhdx")
	_, err := d.Status(wire.Version11)
	is(t, err, ntstatus.InvalidDeviceRequest)
	if _, _, err := s.Command("qos", "top"); err == nil {
		t.Error("gabion qos top shows something")
	}
}

func open(t testing.TB, s Server, name string) (*Host, Disk) {
	t.Helper()
	h, err := s.Connect()
	must(t, err)
	t.Cleanup(h.Close)
	d, err := h.Open(name)
	must(t, err)
	return h, d
}

func is(t testing.TB, err error, want ntstatus.Status) {
	t.Helper()
	var got ntstatus.Status
	if want == ntstatus.Success && err == nil {
		return
	}
	if !errors.As(err, &got) || got != want {
		t.Errorf("%v, want %v", err, want)
	}
}
