package srvsvc

import "gabion/protocol/dcerpc"

// Share types (MS-SRVS 2.2.2.4).
const (
	TypeDisk    = 0
	TypeIPC     = 3
	TypeSpecial = 0x80000000

	// TypeClusterSOFS says that a scale-out share is what others see of it by SMB
	// (SMB2_SHARE_CAP_SCALEOUT); this protocol shows none of the three cluster bits.
	TypeClusterSOFS = 0x04000000
	typeCluster     = 0x02000000 | TypeClusterSOFS | 0x08000000
)

// ShownType is shi*_type: "The server MUST set the STYPE_CLUSTER_FS, STYPE_CLUSTER_SOFS,
// and STYPE_CLUSTER_DFS bits in the shi*_type field to zero" (MS-SRVS 3.1.4.8, 3.1.4.10, 3.1.4.16).
func ShownType(t uint32) uint32 { return t &^ typeCluster }

// Unlimited is shi2_max_uses without a limit.
const Unlimited = 0xFFFFFFFF

// Share has the members of all SHARE_INFO levels (MS-SRVS 2.2.4.22 to 2.2.4.33).
type Share struct {
	Name, Remark, Path string
	Type               uint32
	Flags              uint32 // SHI1005_FLAGS_*
	MaxUses, Uses      uint32
	Security           []byte // self-relative security descriptor or nil
}

// shareFields writes one level's fixed part; its pointees are deferred.
var shareFields = map[uint32]func(w *dcerpc.Writer, s *Share){
	0: func(w *dcerpc.Writer, s *Share) { w.StringPointer(s.Name) },
	1: func(w *dcerpc.Writer, s *Share) {
		w.StringPointer(s.Name)
		w.Uint32(ShownType(s.Type))
		w.StringPointer(s.Remark)
	},
	2: writeShare2,
	501: func(w *dcerpc.Writer, s *Share) {
		w.StringPointer(s.Name)
		w.Uint32(ShownType(s.Type))
		w.StringPointer(s.Remark)
		w.Uint32(s.Flags)
	},
	502: func(w *dcerpc.Writer, s *Share) {
		writeShare2(w, s)
		writeSecurity(w, s)
	},
	503: func(w *dcerpc.Writer, s *Share) {
		writeShare2(w, s)
		w.StringPointer("*") // shi503_servername: any name of the server
		writeSecurity(w, s)
	},
	1004: func(w *dcerpc.Writer, s *Share) { w.StringPointer(s.Remark) },
	1005: func(w *dcerpc.Writer, s *Share) { w.Uint32(s.Flags) },
	1006: func(w *dcerpc.Writer, s *Share) { w.Uint32(s.MaxUses) },
	1501: writeSecurity,
}

// enumLevels are the levels of NetrShareEnum.
var enumLevels = map[uint32]bool{0: true, 1: true, 2: true, 501: true, 502: true, 503: true}

func writeShare2(w *dcerpc.Writer, s *Share) {
	w.StringPointer(s.Name)
	w.Uint32(ShownType(s.Type))
	w.StringPointer(s.Remark)
	w.Uint32(0) // shi2_permissions
	w.Uint32(s.MaxUses)
	w.Uint32(s.Uses)
	w.StringPointer(s.Path)
	w.Pointer(nil) // shi2_passwd
}

func writeSecurity(w *dcerpc.Writer, s *Share) {
	w.Uint32(uint32(len(s.Security)))
	if len(s.Security) == 0 {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(len(s.Security)))
		w.Raw(s.Security)
	})
}

// EnumRequest is what the enumerating calls have in common. Name is the
// qualifier or share name, Client and User those of sessions and files.
type EnumRequest struct {
	Level              uint32
	Qualifier          string
	Client, User, Path string
	MaxLength          uint32
	Resume             uint32
	HasResume          bool
}

// enumStruct reads the empty *_ENUM_STRUCT that a client sends.
func enumStruct(r *dcerpc.Reader, v *EnumRequest) {
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
}

func enumTail(r *dcerpc.Reader, v *EnumRequest) {
	v.MaxLength = r.Uint32()
	if v.HasResume = r.Pointer(); v.HasResume {
		v.Resume = r.Uint32()
	}
}

// DecodeShareEnum reads NetrShareEnum (MS-SRVS 3.1.4.8) and NetrShareEnumSticky.
func DecodeShareEnum(stub dcerpc.Stub) (EnumRequest, error) {
	r := stub.Reader()
	var v EnumRequest
	r.OptString()
	enumStruct(r, &v)
	enumTail(r, &v)
	return v, r.Err()
}

// Page is the part of n entries that starts at a resume handle.
func (v *EnumRequest) page(n int) int {
	if v.HasResume && int64(v.Resume) <= int64(n) {
		return int(v.Resume)
	}
	return 0
}

// encodeEnum writes an *_ENUM_STRUCT of n entries, the total, the resume handle
// and the result.
func (v *EnumRequest) encodeEnum(n int, known bool, entry func(w *dcerpc.Writer, i int)) []byte {
	var w dcerpc.Writer
	w.Uint32(v.Level)
	w.Uint32(v.Level)
	result := uint32(Success)
	if !known {
		w.Pointer(nil)
		n, result = 0, InvalidLevel
	} else {
		from := v.page(n)
		w.Pointer(func(w *dcerpc.Writer) {
			w.Uint32(uint32(n - from))
			w.Pointer(func(w *dcerpc.Writer) {
				w.Uint32(uint32(n - from))
				for i := from; i < n; i++ {
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

// EncodeShareEnum answers NetrShareEnum.
func (v *EnumRequest) EncodeShareEnum(shares []Share) []byte {
	fields := shareFields[v.Level]
	return v.encodeEnum(len(shares), enumLevels[v.Level], func(w *dcerpc.Writer, i int) { fields(w, &shares[i]) })
}

// EncodeShareEnumSticky answers NetrShareEnumSticky (MS-SRVS 3.1.4.9), which
// has no level 501.
func (v *EnumRequest) EncodeShareEnumSticky(shares []Share) []byte {
	fields := shareFields[v.Level]
	known := enumLevels[v.Level] && v.Level != 501
	return v.encodeEnum(len(shares), known, func(w *dcerpc.Writer, i int) { fields(w, &shares[i]) })
}

// DecodeShareGetInfo reads NetrShareGetInfo (MS-SRVS 3.1.4.10).
func DecodeShareGetInfo(stub dcerpc.Stub) (name string, level uint32, err error) {
	r := stub.Reader()
	r.OptString()
	name = r.String()
	level = r.Uint32()
	return name, level, r.Err()
}

// EncodeShareGetInfo answers it; s is nil when result is not Success.
func EncodeShareGetInfo(level uint32, s *Share, result uint32) []byte {
	fields := shareFields[level]
	if fields == nil && result == Success {
		result = InvalidLevel
	}
	return encodeInfo(level, result, func(w *dcerpc.Writer) { fields(w, s) })
}

// encodeInfo writes a union of the level with a pointer to what fields writes,
// and the result.
func encodeInfo(level, result uint32, fields func(w *dcerpc.Writer)) []byte {
	var w dcerpc.Writer
	w.Uint32(level)
	if result == Success {
		w.Pointer(fields)
	} else {
		w.Pointer(nil)
	}
	w.Flush()
	w.Uint32(result)
	return w.Bytes()
}

// EncodeDenied answers an enumeration that the caller may not make.
func (v *EnumRequest) EncodeDenied() []byte {
	b := v.encodeEnum(0, true, nil)
	return append(b[:len(b)-4], AccessDenied, 0, 0, 0)
}
