package srvsvc

import (
	"time"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// Server has the members of SERVER_INFO 100 to 103 (MS-SRVS 2.2.4.40 to 2.2.4.43).
type Server struct {
	Name, Comment string
	Major, Minor  uint32
	Type          uint32 // SV_TYPE_*
	Users         uint32
}

// PlatformNT is PLATFORM_ID_NT (MS-SRVS 2.2.2.6).
const PlatformNT = 500

// Software types (MS-SRVS 2.2.2.7).
const (
	TypeWorkstation = 0x00000001
	TypeServer      = 0x00000002
	TypeNT          = 0x00001000
	TypeServerNT    = 0x00008000
)

// DecodeServerGetInfo reads NetrServerGetInfo (MS-SRVS 3.1.4.17).
func DecodeServerGetInfo(stub dcerpc.Stub) (level uint32, err error) {
	r := stub.Reader()
	r.OptString()
	level = r.Uint32()
	return level, r.Err()
}

// EncodeServerGetInfo answers it.
func EncodeServerGetInfo(level uint32, s *Server, result uint32) []byte {
	if result == Success && (level < 100 || level > 103) {
		result = InvalidLevel
	}
	return encodeInfo(level, result, func(w *dcerpc.Writer) {
		w.Uint32(PlatformNT)
		w.StringPointer(s.Name)
		if level == 100 {
			return
		}
		w.Uint32(s.Major)
		w.Uint32(s.Minor)
		w.Uint32(s.Type)
		w.StringPointer(s.Comment)
		if level == 101 {
			return
		}
		w.Uint32(s.Users)
		w.Uint32(0xFFFFFFFF) // sv102_disc: never disconnect idle users
		w.Uint32(0)          // sv102_hidden: visible
		w.Uint32(240)        // sv102_announce, seconds
		w.Uint32(3000)       // sv102_anndelta, milliseconds
		w.Uint32(0)          // sv102_licenses
		w.StringPointer(`C:\`)
		if level == 103 {
			w.Uint32(0) // sv103_capabilities
		}
	})
}

// DecodeDiskEnum reads NetrServerDiskEnum (MS-SRVS 3.1.4.19).
func DecodeDiskEnum(stub dcerpc.Stub) (EnumRequest, error) {
	r := stub.Reader()
	var v EnumRequest
	r.OptString()
	v.Level = r.Uint32()
	r.Uint32() // EntriesRead
	if r.Pointer() {
		if _, _, n := r.Uint32(), r.Uint32(), r.Uint32(); n != 0 {
			r.Fail("disks in a request")
		}
	}
	enumTail(r, &v)
	return v, r.Err()
}

// EncodeDiskEnum answers it at level 0.
func (v *EnumRequest) EncodeDiskEnum(disks []string, result uint32) []byte {
	if result == Success && v.Level != 0 {
		result = InvalidLevel
	}
	if result != Success {
		disks = nil
	}
	// The list ends with an empty name. DISK_INFO is a [string] of fixed size, so
	// each has an offset and a length of its own.
	n := uint32(len(disks) + 1)
	var w dcerpc.Writer
	w.Uint32(n)
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(n)
		w.Uint32(0)
		w.Uint32(n)
		for _, d := range append(disks, "") {
			units := append(dtyp.EncodeUTF16(d), 0, 0)
			w.Uint32(0)
			w.Uint32(uint32(len(units) / 2))
			w.Raw(units)
		}
	})
	w.Flush()
	w.Uint32(n - 1)
	if v.HasResume {
		w.Pointer(func(w *dcerpc.Writer) { w.Uint32(n - 1) })
	} else {
		w.Pointer(nil)
	}
	w.Flush()
	w.Uint32(result)
	return w.Bytes()
}

// EncodeRemoteTOD answers NetrRemoteTOD (MS-SRVS 3.1.4.21).
func EncodeRemoteTOD(now time.Time, uptime time.Duration) []byte {
	_, zone := now.Zone()
	utc := now.UTC()
	var w dcerpc.Writer
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(utc.Unix()))
		w.Uint32(uint32(uptime.Milliseconds()))
		w.Uint32(uint32(utc.Hour()))
		w.Uint32(uint32(utc.Minute()))
		w.Uint32(uint32(utc.Second()))
		w.Uint32(uint32(utc.Nanosecond() / 1e7))
		w.Uint32(uint32(int32(-zone / 60))) // minutes west of Greenwich
		w.Uint32(310)                       // tod_tinterval: 31 ms, in 0.1 ms
		w.Uint32(uint32(utc.Day()))
		w.Uint32(uint32(utc.Month()))
		w.Uint32(uint32(utc.Year()))
		w.Uint32(uint32(utc.Weekday()))
	})
	w.Flush()
	w.Uint32(Success)
	return w.Bytes()
}

// EncodeResult is the answer of calls that return nothing else.
func EncodeResult(result uint32) []byte {
	var w dcerpc.Writer
	w.Uint32(result)
	return w.Bytes()
}
