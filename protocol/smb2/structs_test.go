package smb2

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"gabion/protocol/dtyp"
)

// structure is what create contexts, negotiate contexts and IOCTL buffers have in
// common: data without a header.
type structure interface {
	Decode(b []byte) error
	AppendTo(b []byte) []byte
}

func structures() []structure {
	return []structure{
		new(Lease), &Lease{V2: true}, new(DurableRequest), new(DurableResponse), new(DurableReconnect),
		new(DurableRequestV2), new(DurableResponseV2), new(DurableReconnectV2), new(MaximalAccessRequest),
		new(MaximalAccessResponse), new(AllocationSize), new(Timewarp), new(OnDiskID), new(AppInstanceID),
		new(AppInstanceVersion), new(SVHDXOpenDevice), &SVHDXOpenDevice{Version: SVHDXVersion2},
		new(PreauthIntegrityCapabilities), new(EncryptionCapabilities), new(CompressionCapabilities), new(NetName),
		new(TransportCapabilities), new(RDMATransformCapabilities), new(SigningCapabilities),
		new(NetworkResiliencyRequest), new(ValidateNegotiateInfoRequest), new(ValidateNegotiateInfoResponse),
		new(SrvRequestResumeKey), new(SrvCopychunkCopy), new(SrvCopychunkResponse), new(SrvReadHash), new(HashHeader),
		new(SrvReadHashResponse), &SrvReadHashResponse{FileBased: true}, new(QueryQuotaInfo), new(SymlinkError),
		new(ShareRedirectError), new(RemotedIdentity), new(RDMACryptoTransform), new(RDMATransformHeader), new(CompressionHeader),
	}
}

func fresh(s structure) structure {
	n := reflect.New(reflect.TypeOf(s).Elem()).Interface().(structure)
	if r, ok := n.(*SrvReadHashResponse); ok {
		r.FileBased = s.(*SrvReadHashResponse).FileBased
	}
	return n
}

func TestStructuresRoundTrip(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, form := range structures() {
		for range 20 {
			s := reflect.New(reflect.TypeOf(form).Elem()).Interface().(structure)
			fill(r, reflect.ValueOf(s).Elem())
			var tail []byte
			switch s := s.(type) {
			case *Lease:
				if s.V2 = form.(*Lease).V2; !s.V2 {
					s.ParentLeaseKey, s.Epoch, s.Reserved = LeaseKey{}, 0, 0
				}
			case *SVHDXOpenDevice:
				s.InitiatorHostNameLength %= 127
				if s.Version = form.(*SVHDXOpenDevice).Version; s.Version != SVHDXVersion2 {
					s.VirtualDiskPropertiesInitialized, s.ServerServiceVersion = 0, 0
					s.VirtualSectorSize, s.PhysicalSectorSize, s.VirtualSize = 0, 0, 0
				}
			case *NetName:
				s.Name = append(s.Name, s.Name...)
			case *SrvCopychunkCopy:
				s.ChunkCount = uint32(len(s.Chunks))
			case *SrvReadHashResponse:
				if s.FileBased = form.(*SrvReadHashResponse).FileBased; !s.FileBased {
					s.DataLength = 0
				}
			case *QueryQuotaInfo:
				s.SIDListLength, s.StartSIDOffset, s.StartSIDLength = uint32(len(s.SIDBuffer)), 0, 1
			case *RemotedIdentity:
				s.Ticket = make([]byte, 40)
				copy(s.Ticket, s.AppendTo(nil))
			case *RDMATransformHeader:
				s.DescriptorLength = 0
			case *CompressionHeader:
				s.Offset = 5
				tail = make([]byte, 5)
			}
			b := append(s.AppendTo(nil), tail...)
			got := fresh(s)
			if err := got.Decode(b); err != nil {
				t.Fatalf("%T: %v", s, err)
			}
			if !reflect.DeepEqual(got, s) {
				t.Fatalf("%T\n got %+v\nwant %+v", s, got, s)
			}
			for n := range b {
				fresh(s).Decode(b[:n:n])
			}
			if _, free := s.(*MaximalAccessRequest); !free && len(b) > 3 && fresh(s).Decode(b[:3]) == nil {
				t.Fatalf("%T: three bytes are enough", s)
			}
		}
	}
}

func TestCreateContexts(t *testing.T) {
	cb := NewContextBuilder([]byte("something before"))
	cb.Add(ContextMaximalAccess, nil)
	cb.Add(ContextOnDiskID, nil)
	cb.Add(ContextLease, (&Lease{State: 7}).AppendTo(nil))
	cb.Add(ContextAppInstanceID, (&AppInstanceID{}).AppendTo(nil))
	list := cb.Bytes()
	r := NewCreateContextReader(list)
	var got []string
	for r.Next() {
		got = append(got, fmt.Sprintf("%.4q %d", r.Name, len(r.Data)))
	}
	if want := `"MxAc" 0, "QFid" 0, "RqLs" 32, "E\xbc\xa6j" 20`; r.Err() != nil || strings.Join(got, ", ") != want {
		t.Errorf("%s %v", got, r.Err())
	}
	if d, ok := FindContext(list, ContextLease); !ok || len(d) != 32 {
		t.Errorf("lease not found")
	}
	if _, ok := FindContext(list, ContextTimewarp); ok {
		t.Errorf("found what is not there")
	}
	for name, spoil := range map[string]func([]byte){
		"Next unaligned":      func(b []byte) { b[0] = 25 },
		"Next too small":      func(b []byte) { b[0] = 8 },
		"Next beyond":         func(b []byte) { b[1] = 0xFF },
		"NameOffset in front": func(b []byte) { b[4] = 4 },
		"NameLength beyond":   func(b []byte) { b[6] = 200 },
		"NameLength short":    func(b []byte) { b[6] = 3 },
		"NameLength zero":     func(b []byte) { b[6] = 0 },
		"DataLength beyond":   func(b []byte) { b[10], b[12] = 16, 200 },
		"DataOffset in front": func(b []byte) { b[10], b[12] = 2, 2 },
	} {
		b := bytes.Clone(list)
		spoil(b)
		r := NewCreateContextReader(b)
		for r.Next() {
		}
		if !errors.Is(r.Err(), ErrMalformed) {
			t.Errorf("%s: %v", name, r.Err())
		}
		req := CreateRequest{Contexts: b}
		if err := new(CreateRequest).Decode(req.AppendTo(AppendHeader(nil, &HeaderFields{}))); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s in CREATE: %v", name, err)
		}
	}
}

func TestOffsetsAreChecked(t *testing.T) {
	name := dtyp.EncodeUTF16("name")
	type field struct {
		at   int // of the offset in the body
		wide bool
	}
	for _, c := range []struct {
		m      Message
		offset []field
	}{
		{&SessionSetupRequest{SecurityBuffer: name}, []field{{12, false}}},
		{&TreeConnectRequest{Path: name}, []field{{4, false}}},
		{&CreateRequest{Name: name}, []field{{44, false}}},
		{&WriteRequest{Data: name}, []field{{2, false}}},
		{&IoctlRequest{Input: name, Output: name}, []field{{24, true}, {36, true}}},
		{&QueryDirectoryRequest{FileName: name}, []field{{24, false}}},
		{&QueryInfoRequest{Input: name}, []field{{8, false}}},
		{&SetInfoRequest{Buffer: name}, []field{{8, false}}},
	} {
		msg := c.m.AppendTo(AppendHeader(nil, &HeaderFields{Command: c.m.Command()}))
		for _, f := range c.offset {
			for _, v := range []uint32{0, 1, 63, 64, 71, uint32(len(msg)), uint32(len(msg)) - 7, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFF8} {
				b := bytes.Clone(msg)
				if f.wide {
					le.PutUint32(b[HeaderSize+f.at:], v)
				} else {
					le.PutUint16(b[HeaderSize+f.at:], uint16(v))
				}
				if _, _, err := DecodeMessage(b); !errors.Is(err, ErrMalformed) {
					t.Errorf("%T offset %#x: %v", c.m, v, err)
				}
			}
		}
	}
}

func TestReadAndWriteDoNotCopy(t *testing.T) {
	payload := bytes.Repeat([]byte("x"), 5000)
	w := (&WriteRequest{Data: payload}).AppendTo(AppendHeader(nil, &HeaderFields{Command: CommandWrite}))
	var req WriteRequest
	if err := req.Decode(w); err != nil || &req.Data[0] != &w[HeaderSize+WriteRequestFixed] {
		t.Error("WRITE payload is not part of the message", err)
	}
	if cap(req.Data) != len(req.Data) {
		t.Error("WRITE payload reaches beyond itself")
	}
	b := make([]byte, HeaderSize+ReadResponseFixed, HeaderSize+ReadResponseFixed+len(payload))
	PutHeader(b, &HeaderFields{Command: CommandRead, Flags: FlagServerToRedir})
	PutReadResponse(b[HeaderSize:], uint32(len(payload)), 0, 0)
	b = append(b, payload...)
	var resp ReadResponse
	if err := resp.Decode(b); err != nil || !bytes.Equal(resp.Data, payload) || &resp.Data[0] != &b[HeaderSize+ReadResponseFixed] {
		t.Error("READ payload", err)
	}
	fixed := (&WriteRequest{Offset: 9}).AppendFixed(AppendHeader(nil, &HeaderFields{Command: CommandWrite}), uint32(len(payload)))
	if err := req.Decode(append(fixed, payload...)); err != nil || len(req.Data) != len(payload) {
		t.Error("AppendFixed", err)
	}
	buf := make([]byte, 0, 256)
	if n := testing.AllocsPerRun(100, func() {
		var f HeaderFields
		var r ReadRequest
		var c CreateRequest
		buf = AppendHeader(buf[:0], &f)
		buf = r.AppendTo(buf)
		if r.Decode(buf) != nil || req.Decode(w) != nil {
			t.Fatal("decode")
		}
		buf = c.AppendTo(AppendHeader(buf[:0], &f))
		if c.Decode(buf) != nil {
			t.Fatal("decode")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestNetworkInterfaces(t *testing.T) {
	list := []NetworkInterfaceInfo{
		{IfIndex: 3, Capability: InterfaceRSS, LinkSpeed: 1e10, Address: netip.MustParseAddr("192.0.2.7")},
		{IfIndex: 4, LinkSpeed: 1e9, Address: netip.MustParseAddr("2001:db8::1")},
	}
	b := AppendNetworkInterfaces(nil, list)
	got, err := DecodeNetworkInterfaces(b)
	if err != nil || !reflect.DeepEqual(got, list) {
		t.Errorf("%+v %v", got, err)
	}
	if _, err := DecodeNetworkInterfaces(b[:len(b)-1]); err == nil {
		t.Error("truncated list")
	}
}

// [MS-SMB2] 3.3.5.15.1: all tokens or none, with the room they need.
func TestSnapshotArray(t *testing.T) {
	a := SrvSnapshotArray{Snapshots: []string{"@GMT-2026.01.02-03.04.05", "@GMT-2025.01.02-03.04.05"}}
	need := 2*SnapshotTokenSize + 2
	for _, c := range []struct {
		max      uint32
		returned uint32
	}{{16, 0}, {uint32(12 + need - 1), 0}, {uint32(12 + need), 2}} {
		b := a.AppendTo(nil, c.max)
		var got SrvSnapshotArray
		if err := got.Decode(b); err != nil {
			t.Fatal(err)
		}
		if got.NumberOfSnapshots != 2 || got.NumberOfSnapshotsReturned != c.returned || got.SnapshotArraySize != uint32(need) {
			t.Errorf("max %d: %+v", c.max, got)
		}
		if c.returned == 2 && !reflect.DeepEqual(got.Snapshots, a.Snapshots) {
			t.Errorf("%v", got.Snapshots)
		}
	}
	if b := (&SrvSnapshotArray{}).AppendTo(nil, 16); len(b) != 16 {
		t.Errorf("no snapshots: %x", b)
	}
}

func TestSMB1Negotiate(t *testing.T) {
	for _, c := range []struct {
		dialects []string
		want     SMB1Negotiate
	}{
		{[]string{"NT LM 0.12"}, SMB1Negotiate{}},
		{[]string{"NT LM 0.12", "SMB 2.002"}, SMB1Negotiate{Has202: true}},
		{[]string{"NT LM 0.12", "SMB 2.002", "SMB 2.???"}, SMB1Negotiate{true, true}},
		{[]string{"SMB 2.???"}, SMB1Negotiate{HasWildcard: true}},
		{nil, SMB1Negotiate{}},
	} {
		var n SMB1Negotiate
		b := AppendSMB1Negotiate(nil, c.dialects...)
		if err := n.Decode(b); err != nil || n != c.want {
			t.Errorf("%q: %+v %v", c.dialects, n, err)
		}
		for i := range b {
			n.Decode(b[:i:i])
		}
	}
	for name, spoil := range map[string]func([]byte){
		"another command": func(b []byte) { b[4] = 0x73 },
		"a reply":         func(b []byte) { b[9] |= 0x80 },
		"with words":      func(b []byte) { b[32] = 1 },
		"long ByteCount":  func(b []byte) { b[34] = 1 },
		"wrong format":    func(b []byte) { b[35] = 3 },
		"no end":          func(b []byte) { b[len(b)-1] = 'x' },
	} {
		b := AppendSMB1Negotiate(nil, "SMB 2.002")
		spoil(b)
		if err := new(SMB1Negotiate).Decode(b); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTransformHeader(t *testing.T) {
	f := make([]byte, TransformHeaderSize+10)
	h := PutTransformHeader(f, 10, 77)
	if h.SessionID() != 77 || h.Flags() != TransformEncrypted || len(h.AssociatedData()) != 32 || Protocol(f) != ProtocolTransform {
		t.Errorf("%s", h)
	}
	if _, err := ParseTransformHeader(f); err != nil {
		t.Error(err)
	}
	for _, n := range []int{0, 4, 51, 61} {
		if _, err := ParseTransformHeader(f[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
}
