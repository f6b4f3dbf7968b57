package sqos

import (
	"errors"
	"fmt"
	"time"

	"gabion/conformance/client"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	wire "gabion/protocol/sqos"
)

// What the test suite expects of the server's configuration.
var PolicyID = dtyp.MustParseGUID("ec320704-6443-426c-ab74-86413e90dbfb")

const (
	PolicyMinimum   = 100
	PolicyMaximum   = 200
	PolicyBandwidth = 1600 // KiB/s

	initiator = "FileServerProtocolTestSuite"
	node      = "host.example"
	diskName  = "test.vhdx"
)

// Case is one row of the test suite.
type Case struct {
	Name string
	Run  func(*run) error
}

// Cases are those of WindowsProtocolTestSuites' SQOS part, under its names.
var Cases = []Case{
	{"BVT_Sqos_SetPolicy", setPolicy},
	{"BVT_Sqos_ProbePolicy", probePolicy},
	{"BVT_Sqos_UpdateCounters", updateCounters},
	{"Sqos_InvalidProtocolVersion", refused(ntstatus.RevisionMismatch, func(s *Say) { s.Options = wire.SetLogicalFlowID; s.Version = 0xFFFF })},
	{"Sqos_InvalidOption", refused(ntstatus.InvalidParameter, func(s *Say) { s.Options = 0 })},
	{"Sqos_InvalidPolicyId", refused(ntstatus.InvalidParameter, func(s *Say) { s.PolicyID = dtyp.NewGUID(); s.Limit = 1 })},
	{"Sqos_ReservationGreaterThanLimit", refused(ntstatus.InvalidParameter, func(s *Say) { s.Limit, s.Reservation = 1, 2 })},
	{"Sqos_InvalidInitiatorNameOffset_Small", badName(func(s *Say, _ int) { s.InitiatorName.Offset = 0 })},
	{"Sqos_InvalidInitiatorNameOffset_Large", badName(func(s *Say, size int) { s.InitiatorName.Offset = uint16(size - len(initiator) + 1) })},
	{"Sqos_InvalidInitiatorNodeNameOffset_Small", badName(func(s *Say, _ int) { s.InitiatorNodeName.Offset = 0 })},
	{"Sqos_InvalidInitiatorNodeNameOffset_Large", badName(func(s *Say, size int) { s.InitiatorNodeName.Offset = uint16(size - len(node) + 1) })},
	{"Sqos_SetPolicyToNonAssociatedLogicalFlow", refused(ntstatus.NotFound, func(s *Say) { s.Options = wire.SetPolicy })},
	{"Sqos_InvalidRequestType", invalidRequestType},
}

// Do runs a case with requests of a version.
func (s Server) Do(c Case, v wire.Version) error {
	h, err := s.Connect()
	if err != nil {
		return err
	}
	defer h.Close()
	d, err := h.Open(diskName)
	if err != nil {
		return err
	}
	defer d.Close()
	return c.Run(&run{d, v, dtyp.NewGUID(), dtyp.NewGUID()})
}

// run is a case on its way: a fresh open, a new flow and a new virtual machine.
type run struct {
	Disk
	version  wire.Version
	flow, vm dtyp.GUID
}

// say is a request of this flow with the policy and the names.
func (r *run) say(o wire.Options) Say {
	return Say{Initiator: initiator, Node: node,
		Request: wire.Request{Version: r.version, Options: o, FlowID: r.flow, PolicyID: PolicyID, InitiatorID: r.vm}}
}

// associate leaves the names and the policy out.
func (r *run) associate() error {
	out, err := r.Control(Say{Request: wire.Request{Version: r.version, Options: wire.SetLogicalFlowID, FlowID: r.flow}})
	return silent(out, err)
}

func silent(out *wire.Response, err error) error {
	if err == nil && out != nil {
		return fmt.Errorf("an answer that nobody asked for: %+v", *out)
	}
	return err
}

func setPolicy(r *run) error {
	if err := r.associate(); err != nil {
		return err
	}
	if err := silent(r.Control(r.say(wire.SetPolicy))); err != nil {
		return err
	}
	return r.effective()
}

func probePolicy(r *run) error {
	if err := silent(r.Control(r.say(wire.ProbePolicy))); err != nil {
		return err
	}
	return r.effective()
}

// effective polls until the policy's maximum is assigned, and checks the rest of the status.
func (r *run) effective() error {
	for end := time.Now().Add(2 * time.Minute); ; {
		s, err := r.Status(r.version)
		switch {
		case err != nil:
			return err
		case s == nil:
			return errors.New("no status")
		case s.MaximumIoRate != PolicyMaximum && time.Now().Before(end):
			time.Sleep(100 * time.Millisecond) // as the suite does
			continue
		}
		want := wire.Response{Version: r.version, FlowID: r.flow, PolicyID: PolicyID, InitiatorID: r.vm, TimeToLive: s.TimeToLive,
			Status: wire.StatusOk, MaximumIoRate: PolicyMaximum, MinimumIoRate: PolicyMinimum, BaseIoSize: 8192}
		if r.version == wire.Version11 {
			want.MaximumBandwidth = PolicyBandwidth
		}
		if *s != want || s.TimeToLive == 0 {
			return fmt.Errorf("status %+v, want %+v", *s, want)
		}
		return nil
	}
}

func updateCounters(r *run) error {
	if err := r.associate(); err != nil {
		return err
	}
	if err := silent(r.Control(r.say(wire.SetPolicy))); err != nil {
		return err
	}
	if _, err := r.WriteAt(make([]byte, 8192), 0); err != nil {
		return err
	}
	began := time.Now()
	if _, err := r.ReadAt(make([]byte, 8192), 0); err != nil {
		return err
	}
	took := uint64(time.Since(began) / 100)
	s := r.say(wire.UpdateCounters)
	s.IoCountIncrement, s.NormalizedIoCountIncrement, s.LatencyIncrement, s.LowerLatencyIncrement = 1, 1, took, took
	if r.version == wire.Version11 {
		s.KilobyteCountIncrement = 8
	}
	return silent(r.Control(s))
}

// refused probes with something wrong.
func refused(want ntstatus.Status, spoil func(*Say)) func(*run) error {
	return func(r *run) error {
		s := r.say(wire.ProbePolicy)
		message := s.AppendNamed(nil, s.Initiator, s.Node)
		spoil(&s)
		_, err := r.Raw(append(s.AppendFixed(nil), message[r.version.RequestSize():]...), Room)
		if s.Version != r.version { // its fixed part is another
			s.Version = r.version
			fixed := s.AppendFixed(nil)
			fixed[0], fixed[1] = 0xFF, 0xFF
			_, err = r.Raw(append(fixed, message[r.version.RequestSize():]...), Room)
		}
		return expect(err, want)
	}
}

func expect(err error, want ntstatus.Status) error {
	if got, ok := client.Status(err); !ok || got != want {
		return fmt.Errorf("%v, want %v", err, want)
	}
	return nil
}

func badName(spoil func(s *Say, size int)) func(*run) error {
	return func(r *run) error {
		s := r.say(wire.ProbePolicy)
		message := s.AppendNamed(nil, s.Initiator, s.Node)
		spoil(&s, len(message))
		_, err := r.Raw(append(s.AppendFixed(nil), message[r.version.RequestSize():]...), Room)
		return expect(err, ntstatus.InvalidParameter)
	}
}

// invalidRequestType sends the form of version 1.0 that says it is 1.1.
func invalidRequestType(r *run) error {
	s := r.say(wire.SetPolicy)
	s.Version = wire.Version10
	message := s.AppendNamed(nil, s.Initiator, s.Node)
	message[0], message[1] = 0x01, 0x01
	_, err := r.Raw(message, Room)
	return expect(err, ntstatus.InvalidParameter)
}
