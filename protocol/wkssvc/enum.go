package wkssvc

import "gabion/protocol/dcerpc"

// EnumRequest is what NetrWkstaUserEnum and NetrWkstaTransportEnum ask
// (MS-WKST 3.2.4.3, 3.2.4.4).
type EnumRequest struct {
	Level     uint32
	HasResume bool
}

// DecodeEnum reads either.
func DecodeEnum(stub dcerpc.Stub) (EnumRequest, error) {
	r := stub.Reader()
	var v EnumRequest
	r.OptString()
	v.Level = r.Uint32()
	if sw := r.Uint32(); sw != v.Level {
		r.Fail("union switch %d at level %d", sw, v.Level)
	}
	if r.Pointer() {
		r.Uint32() // EntriesRead
		if r.Pointer() && r.Uint32() != 0 {
			r.Fail("entries in a request")
		}
	}
	r.Uint32() // PreferredMaximumLength
	if v.HasResume = r.Pointer(); v.HasResume {
		r.Uint32()
	}
	return v, r.Err()
}

// User is one logged on at the machine's console: WKSTA_USER_INFO 0 and 1
// (MS-WKST 2.2.5.9, 2.2.5.10).
type User struct {
	Name, Domain, Server string
}

// EncodeUserEnum answers NetrWkstaUserEnum.
func (v *EnumRequest) EncodeUserEnum(users []User, result uint32) []byte {
	return v.encode(len(users), v.Level <= 1, result, func(w *dcerpc.Writer, i int) {
		u := &users[i]
		w.StringPointer(u.Name)
		if v.Level == 1 {
			w.StringPointer(u.Domain)
			w.StringPointer("") // wkui1_oth_domains
			w.StringPointer(u.Server)
		}
	})
}

// Transport is WKSTA_TRANSPORT_INFO_0 (MS-WKST 2.2.5.11).
type Transport struct {
	Circuits      uint32
	Name, Address string
}

// EncodeTransportEnum answers NetrWkstaTransportEnum.
func (v *EnumRequest) EncodeTransportEnum(list []Transport, result uint32) []byte {
	return v.encode(len(list), v.Level == 0, result, func(w *dcerpc.Writer, i int) {
		w.Uint32(0) // wkti0_quality_of_service
		w.Uint32(list[i].Circuits)
		w.StringPointer(list[i].Name)
		w.StringPointer(list[i].Address)
		w.Uint32(1) // wkti0_wan_ish: routable
	})
}

func (v *EnumRequest) encode(n int, known bool, result uint32, entry func(w *dcerpc.Writer, i int)) []byte {
	if result == Success && !known {
		result = InvalidLevel
	}
	var w dcerpc.Writer
	w.Uint32(v.Level)
	w.Uint32(v.Level)
	if result != Success {
		n = 0
		w.Pointer(nil)
	} else {
		w.Pointer(func(w *dcerpc.Writer) {
			w.Uint32(uint32(n))
			w.Pointer(func(w *dcerpc.Writer) {
				w.Uint32(uint32(n))
				for i := range n {
					entry(w, i)
				}
			})
		})
	}
	w.Flush()
	w.Uint32(uint32(n))
	if v.HasResume {
		w.Pointer(func(w *dcerpc.Writer) { w.Uint32(0) })
	} else {
		w.Pointer(nil)
	}
	w.Flush()
	w.Uint32(result)
	return w.Bytes()
}

// Kinds of membership (MS-WKST 2.2.3.1).
const (
	JoinUnknown   = 0
	JoinUnjoined  = 1
	JoinWorkgroup = 2
	JoinDomain    = 3
)

// EncodeJoinInformation answers NetrGetJoinInformation (MS-WKST 3.2.4.15).
func EncodeJoinInformation(name string, kind, result uint32) []byte {
	var w dcerpc.Writer
	if result == Success {
		w.StringPointer(name)
	} else {
		w.Pointer(nil)
	}
	w.Flush()
	w.Uint32(kind)
	w.Uint32(result)
	return w.Bytes()
}
