package wkssvc

import "gabion/protocol/dcerpc"

// Workstation has the members of WKSTA_INFO 100 to 102 (MS-WKST 2.2.5.1 to 2.2.5.3).
type Workstation struct {
	Name, Group  string
	Major, Minor uint32
	LoggedOn     uint32
}

// DecodeGetInfo reads NetrWkstaGetInfo (MS-WKST 3.2.4.1).
func DecodeGetInfo(stub dcerpc.Stub) (level uint32, err error) {
	r := stub.Reader()
	r.OptString()
	level = r.Uint32()
	return level, r.Err()
}

// EncodeGetInfo answers it.
func EncodeGetInfo(level uint32, s *Workstation, result uint32) []byte {
	if result == Success && (level < 100 || level > 102) {
		result = InvalidLevel
	}
	var w dcerpc.Writer
	w.Uint32(level)
	if result != Success {
		w.Pointer(nil)
	} else {
		w.Pointer(func(w *dcerpc.Writer) {
			w.Uint32(500) // PLATFORM_ID_NT
			w.StringPointer(s.Name)
			w.StringPointer(s.Group)
			w.Uint32(s.Major)
			w.Uint32(s.Minor)
			if level >= 101 {
				w.StringPointer("") // wki101_lanroot
			}
			if level == 102 {
				w.Uint32(s.LoggedOn)
			}
		})
	}
	w.Flush()
	w.Uint32(result)
	return w.Bytes()
}
