package smb2

import (
	"reflect"
	"testing"
)

// seed gives a fuzz target the frames that real peers sent, and one of each message.
func seed(f *testing.F) {
	for _, frame := range golden(f) {
		f.Add(frame)
	}
	for _, c := range everyMessage() {
		h := HeaderFields{Command: c.m.Command()}
		if c.response {
			h.Flags = FlagServerToRedir
		}
		f.Add(c.m.AppendTo(AppendHeader(nil, &h)))
	}
}

// A chain that decodes says the same again when it is encoded; one that does not
// decode is an error, never a panic.
func FuzzChain(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, chain []byte) {
		for rest := chain; rest != nil; {
			msg, next, err := Split(rest)
			if err != nil {
				return
			}
			rest = next
			h, m, err := DecodeMessage(msg)
			if err != nil {
				continue
			}
			_ = h.String() + m.String()
			out := reencode(h, m)
			// Fields of 16 and 8 bits cannot describe what an encoder appends behind a
			// region that lay far back in the original; nobody encodes that much.
			if len(msg) > 60000 {
				continue
			}
			_, again, err := DecodeMessage(out)
			if err != nil {
				t.Fatalf("%s: own encoding: %v", m, err)
			}
			if w, ok := m.(*WriteRequest); ok {
				w.DataOffset = again.(*WriteRequest).DataOffset
			}
			if n, ok := m.(*ServerNotification); ok {
				n.StructureSize = again.(*ServerNotification).StructureSize
			}
			if !reflect.DeepEqual(normal(m), normal(again)) {
				t.Fatalf("got  %+v\nwant %+v", again, m)
			}
		}
	})
}

// normal removes what an encoder does not keep: the bytes behind the last context of
// a list, and the difference between no bytes and none.
func normal(m Message) Message {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if s := v.Field(i); s.Kind() == reflect.Slice && s.Len() == 0 {
			s.SetZero()
		}
	}
	return m
}

// FuzzStructures feeds each structure that has no header of its own.
func FuzzStructures(f *testing.F) {
	for i, s := range structures() {
		f.Add(uint8(i), s.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		all := structures()
		form := all[int(which)%len(all)]
		s := fresh(form)
		if s.Decode(b) != nil {
			return
		}
		out := s.AppendTo(nil)
		switch s.(type) {
		case *CompressionHeader, *RDMATransformHeader, *RemotedIdentity:
			return // they describe what lies behind them
		}
		if again := fresh(form); again.Decode(out) != nil {
			t.Fatalf("own encoding of %T %+v", s, s)
		}
	})
}

// FuzzLists walks every list there is a reader for.
func FuzzLists(f *testing.F) {
	neg, _ := negotiateList()
	f.Add(neg, uint8(4))
	f.Add(AppendNetworkInterfaces(nil, make([]NetworkInterfaceInfo, 2)), uint8(0))
	f.Add((&SrvSnapshotArray{Snapshots: []string{"@GMT-2026.01.02-03.04.05"}}).AppendTo(nil, 1000), uint8(0))
	f.Add(AppendErrorContext(nil, 0, 0, []byte("abc")), uint8(1))
	f.Add(AppendSMB1Negotiate(nil, SMB1Dialect202), uint8(0))
	f.Fuzz(func(t *testing.T, b []byte, n uint8) {
		neg := NegotiateContextReader{rest: b, left: int(n)}
		for neg.Next() {
		}
		errs := ErrorContextReader{rest: b, left: int(n)}
		for errs.Next() {
		}
		cc := NewCreateContextReader(b)
		for cc.Next() {
		}
		DecodeNetworkInterfaces(b)
		new(SrvSnapshotArray).Decode(b)
		new(SMB1Negotiate).Decode(b)
		ParseTransformHeader(b)
		for rest := b; len(rest) > 0; {
			var err error
			if _, rest, err = DecodeCompressionPayload(rest); err != nil {
				break
			}
		}
		var id RemotedIdentity
		if id.Decode(b) == nil {
			id.Blob(id.Owner)
			id.CString(id.UserName)
		}
	})
}
