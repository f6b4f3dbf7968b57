package smb2

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"reflect"
	"testing"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// fill sets every exported field of the structure v to something that is not zero.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				fill(r, v.Field(i))
			}
		}
	case reflect.Slice:
		n := 1 + r.IntN(9)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint((r.Uint64() | 1) & (1<<v.Type().Bits() - 1))
	}
}

func contextList(r *rand.Rand) []byte {
	var b ContextBuilder
	for _, name := range []string{ContextLease, ContextAppInstanceID, ContextDurableRequestV2} {
		data := make([]byte, r.IntN(60))
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		b.Add(name, data)
	}
	return b.Bytes()
}

func negotiateList() ([]byte, uint16) {
	return AppendNegotiateContexts(nil,
		&PreauthIntegrityCapabilities{HashAlgorithms: []HashAlgorithm{HashSHA512}, Salt: []byte("salty")},
		&EncryptionCapabilities{Ciphers: []Cipher{CipherAES256GCM, CipherAES128GCM}},
		&NetName{Name: dtyp.EncodeUTF16("srv")},
		&SigningCapabilities{Algorithms: []SigningAlgorithm{SigningAESGMAC}})
}

// settle makes a filled message one that a peer could send.
func settle(r *rand.Rand, m Message) {
	switch m := m.(type) {
	case *NegotiateRequest:
		m.Dialects = []Dialect{Dialect210, Dialect311}
		m.ClientStartTime = 0
		m.Contexts, m.ContextCount = negotiateList()
	case *NegotiateResponse:
		m.Dialect, m.Reserved2 = Dialect311, 0
		m.Contexts, m.ContextCount = negotiateList()
	case *TreeConnectRequest:
		m.Flags |= TreeConnectExtensionPresent
		m.Contexts, m.ContextCount = negotiateList()
	case *CreateRequest:
		m.Contexts = contextList(r)
	case *CreateResponse:
		m.Contexts = contextList(r)
	case *ReadRequest:
		m.Channel = ChannelRDMAV1
	case *WriteRequest:
		m.Channel = ChannelRDMAV1
		m.DataOffset = uint16(HeaderSize + WriteRequestFixed + len(m.ChannelInfo))
	case *ErrorResponse:
		m.ContextCount = 0
	case *ServerNotification:
		m.StructureSize = uint16(8 + len(m.Notification))
	}
}

func everyMessage() []struct {
	m        Message
	response bool
} {
	var all []struct {
		m        Message
		response bool
	}
	add := func(m Message, response bool) {
		all = append(all, struct {
			m        Message
			response bool
		}{m, response})
	}
	for c := range CommandServerToClientNotification + 1 {
		if m := NewRequest(c); m != nil {
			add(m, false)
		}
		if m := NewResponse(c); m != nil {
			add(m, true)
		}
	}
	add(new(LeaseBreak), false)
	add(new(LeaseBreak), true)
	add(new(LeaseBreakNotification), true)
	return all
}

func TestRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range everyMessage() {
		for range 20 {
			m := reflect.New(reflect.TypeOf(c.m).Elem()).Interface().(Message)
			of := c.m.Command()
			fill(r, reflect.ValueOf(m).Elem())
			settle(r, m)
			if e, ok := m.(*Empty); ok {
				e.Of = of
			}
			f := HeaderFields{Command: of, MessageID: 3}
			if c.response {
				f.Flags = FlagServerToRedir
			}
			msg := m.AppendTo(AppendHeader(nil, &f))
			_, got, err := DecodeMessage(msg)
			if err != nil {
				t.Fatalf("%T: %v", m, err)
			}
			if !reflect.DeepEqual(got, m) {
				t.Fatalf("%T\n got %+v\nwant %+v", m, got, m)
			}
			// Encoding does not depend on where the buffer's message starts.
			prefix := []byte{1, 2, 3}
			shifted := m.AppendTo(AppendHeader(bytes.Clone(prefix), &f))
			if !bytes.Equal(shifted[3:], msg) {
				t.Fatalf("%T: encoding depends on the buffer", m)
			}
			// Every truncation that loses a field is an error, and none panics.
			for n := range msg {
				DecodeMessage(msg[:n:n])
			}
			if _, _, err := DecodeMessage(msg[:HeaderSize+1]); !errors.Is(err, ErrMalformed) {
				t.Fatalf("%T: truncation gives %v", m, err)
			}
		}
	}
}

func TestErrorResponse(t *testing.T) {
	h := HeaderFields{Command: CommandCreate, Flags: FlagServerToRedir, Status: ntstatus.StoppedOnSymlink}
	link := SymlinkError{UnparsedPathLength: 6, Flags: SymlinkRelative, SubstituteName: dtyp.EncodeUTF16(`..\x`), PrintName: dtyp.EncodeUTF16("x")}
	redirect := ShareRedirectError{NotificationType: 3, Destinations: []MoveDestination{{Type: MoveDestinationIPv4, Address: [16]byte{10, 0, 0, 1}}}, ResourceName: dtyp.EncodeUTF16("vms")}
	data := AppendErrorContext(nil, 0, ErrorIDDefault, link.AppendTo(nil))
	data = AppendErrorContext(data, 0, ErrorIDShareRedirect, redirect.AppendTo(nil))
	e := ErrorResponse{ContextCount: 2, Data: data}
	_, m, err := DecodeMessage(e.AppendTo(AppendHeader(nil, &h)))
	if err != nil || !reflect.DeepEqual(m, &e) {
		t.Fatalf("%v %v", m, err)
	}
	r := m.(*ErrorResponse).ErrorContexts()
	var gotLink SymlinkError
	var gotRedirect ShareRedirectError
	if !r.Next() || r.ID != ErrorIDDefault || gotLink.Decode(r.Data) != nil || !reflect.DeepEqual(gotLink, link) {
		t.Errorf("symlink %+v", gotLink)
	}
	if !r.Next() || r.ID != ErrorIDShareRedirect || gotRedirect.Decode(r.Data) != nil || !reflect.DeepEqual(gotRedirect, redirect) {
		t.Errorf("redirect %+v", gotRedirect)
	}
	if r.Next() || r.Err() != nil {
		t.Error("more than two contexts")
	}
	// An error without data still has the byte that StructureSize counts.
	if b := (&ErrorResponse{}).AppendTo(nil); len(b) != 9 {
		t.Errorf("empty error is %d bytes", len(b))
	}
}

// [MS-SMB2] 3.3.4.4: which responses have a body of their own although their status
// is not success.
func TestErrorOrBody(t *testing.T) {
	for _, c := range []struct {
		c      Command
		s      ntstatus.Status
		m      Message
		expect Message
	}{
		{CommandSessionSetup, ntstatus.MoreProcessingRequired, &SessionSetupResponse{}, &SessionSetupResponse{}},
		{CommandSessionSetup, ntstatus.LogonFailure, &ErrorResponse{}, &ErrorResponse{}},
		{CommandQueryInfo, ntstatus.BufferOverflow, &QueryInfoResponse{}, &QueryInfoResponse{}},
		{CommandQueryInfo, ntstatus.InfoLengthMismatch, &ErrorResponse{}, &ErrorResponse{}},
		{CommandRead, ntstatus.BufferOverflow, &ReadResponse{Data: []byte("x")}, &ReadResponse{Data: []byte("x")}},
		{CommandRead, ntstatus.EndOfFile, &ErrorResponse{}, &ErrorResponse{}},
		{CommandIoctl, ntstatus.InvalidParameter, &IoctlResponse{Output: []byte("limits")}, &IoctlResponse{Output: []byte("limits")}},
		{CommandIoctl, ntstatus.FileClosed, &ErrorResponse{}, &ErrorResponse{}},
		{CommandChangeNotify, ntstatus.NotifyEnumDir, &ChangeNotifyResponse{}, &ChangeNotifyResponse{}},
		{CommandChangeNotify, ntstatus.Pending, &ErrorResponse{}, &ErrorResponse{}},
	} {
		h := HeaderFields{Command: c.c, Flags: FlagServerToRedir, Status: c.s}
		_, m, err := DecodeMessage(c.m.AppendTo(AppendHeader(nil, &h)))
		if err != nil || !reflect.DeepEqual(m, c.expect) {
			t.Errorf("%s %s: %#v %v", c.c, c.s, m, err)
		}
	}
}

func TestHeader(t *testing.T) {
	for _, f := range []HeaderFields{
		{CreditCharge: 3, ChannelSequence: 9, Command: CommandRead, Credits: 7, NextCommand: 128, MessageID: 1 << 40, Reserved: 0xFEFF, TreeID: 5, SessionID: 6, Flags: FlagSigned | 0x30, Signature: [16]byte{1, 15: 2}},
		{Status: ntstatus.AccessDenied, Command: CommandLock, AsyncID: 1 << 50, Flags: FlagServerToRedir | FlagAsyncCommand | FlagRelatedOperations},
	} {
		b := AppendHeader(nil, &f)
		h, err := ParseHeader(b)
		if err != nil || len(b) != HeaderSize || h.Fields() != f {
			t.Errorf("got %+v, want %+v, %v", h.Fields(), f, err)
		}
		if h.IsAsync() != (f.AsyncID != 0) || h.IsSigned() != (f.Signature[0] != 0) || h.String() == "" {
			t.Errorf("flags of %s", h)
		}
	}
	if p := HeaderFlags(0x30).Priority(); p != 3 {
		t.Errorf("priority %d", p)
	}
	for _, spoil := range []func([]byte){
		func(b []byte) { b[0] = 0xFF }, func(b []byte) { b[4] = 63 },
	} {
		b := AppendHeader(nil, &HeaderFields{})
		spoil(b)
		if _, err := ParseHeader(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v", err)
		}
	}
}

func TestCompound(t *testing.T) {
	var b []byte
	last := 0
	for i, m := range []Message{&CreateRequest{Name: dtyp.EncodeUTF16("abc")}, &CloseRequest{FileID: AnyFileID}, &Empty{Of: CommandEcho}} {
		if i > 0 {
			b = PadCompound(b, last)
		}
		last = len(b)
		b = m.AppendTo(AppendHeader(b, &HeaderFields{Command: m.Command(), MessageID: uint64(i)}))
	}
	var got []Command
	for rest := b; rest != nil; {
		var msg []byte
		var err error
		if msg, rest, err = Split(rest); err != nil {
			t.Fatal(err)
		}
		h, _, err := DecodeMessage(msg)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, h.Command())
	}
	if !reflect.DeepEqual(got, []Command{CommandCreate, CommandClose, CommandEcho}) {
		t.Errorf("%v", got)
	}
	for _, next := range []uint32{4, 8, 63, 65, 56, uint32(len(b)), uint32(len(b) + 8), 1 << 31} {
		Header(b).SetNextCommand(next)
		if _, _, err := Split(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("NextCommand %d: %v", next, err)
		}
	}
}
