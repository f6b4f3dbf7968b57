package fsrvp

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// Response has the results of any method. What a method does not return, or a failed one
// would, stays zero.
type Response struct {
	MinVersion, MaxVersion uint32    // GetSupportedVersion
	ID                     dtyp.GUID // Start: of the set; Add: of the copy
	Supported              bool      // IsPathSupported
	Owner                  string    // IsPathSupported: OwnerMachineName
	Present                bool      // IsPathShadowCopied
	Compatibility          uint32    // IsPathShadowCopied
	Level                  uint32    // GetShareMapping
	Mapping                *Mapping  // GetShareMapping at level 1
	Result                 Result
}

// Mapping is FSSAGENT_SHARE_MAPPING_1 (MS-FSRVP 2.2.3.1).
type Mapping struct {
	SetID, CopyID dtyp.GUID
	ShareUNC      string // ShareNameUNC, as it was added
	ExposedShare  string // ShadowCopyShareName, without the server's name
	Created       dtyp.Filetime
}

// AppendTo encodes the response of a method.
func (p *Response) AppendTo(op uint16, b []byte) []byte {
	var w dcerpc.Writer
	switch op {
	case OpGetSupportedVersion:
		w.Uint32(p.MinVersion)
		w.Uint32(p.MaxVersion)
	case OpStartShadowCopySet, OpAddToShadowCopySet:
		w.GUID(p.ID)
	case OpIsPathSupported:
		w.Uint32(boolean(p.Supported))
		if p.Result == OK {
			w.StringPointer(p.Owner)
		} else {
			w.Pointer(nil)
		}
		w.Flush()
	case OpIsPathShadowCopied:
		w.Uint32(boolean(p.Present))
		w.Uint32(p.Compatibility)
	case OpGetShareMapping:
		w.Uint32(p.Level)
		if p.Level == 1 {
			p.Mapping.pointer(&w)
		}
		w.Flush()
	}
	w.Uint32(uint32(p.Result))
	return append(b, w.Bytes()...)
}

func (m *Mapping) pointer(w *dcerpc.Writer) {
	if m == nil {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Align(8)
		w.GUID(m.SetID)
		w.GUID(m.CopyID)
		w.StringPointer(m.ShareUNC)
		w.StringPointer(m.ExposedShare)
		w.Uint64(uint64(m.Created))
	})
}

func boolean(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// DecodeResponse reads the stub of a response, for clients.
func DecodeResponse(op uint16, stub []byte) (p Response, err error) {
	r := dcerpc.NewReader(stub)
	switch op {
	case OpGetSupportedVersion:
		p.MinVersion, p.MaxVersion = r.Uint32(), r.Uint32()
	case OpStartShadowCopySet, OpAddToShadowCopySet:
		p.ID = r.GUID()
	case OpIsPathSupported:
		p.Supported = r.Uint32() != 0
		p.Owner, _ = r.OptString()
	case OpIsPathShadowCopied:
		p.Present = r.Uint32() != 0
		p.Compatibility = r.Uint32()
	case OpGetShareMapping:
		if p.Level = r.Uint32(); p.Level == 1 && r.Pointer() {
			p.Mapping = decodeMapping(r)
		}
	}
	p.Result = Result(r.Uint32())
	return p, r.Err()
}

func decodeMapping(r *dcerpc.Reader) *Mapping {
	var m Mapping
	r.Align(8)
	m.SetID, m.CopyID = r.GUID(), r.GUID()
	unc, exposed := r.Pointer(), r.Pointer()
	m.Created = dtyp.Filetime(r.Uint64())
	if unc {
		m.ShareUNC = r.String()
	}
	if exposed {
		m.ExposedShare = r.String()
	}
	return &m
}
