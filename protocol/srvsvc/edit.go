package srvsvc

import "gabion/protocol/dcerpc"

// DecodeShareAdd reads NetrShareAdd (MS-SRVS 3.1.4.7). known is false for a
// level that cannot be added.
func DecodeShareAdd(stub dcerpc.Stub) (s Share, known bool, err error) {
	r := stub.Reader()
	r.OptString()
	level := r.Uint32()
	if sw := r.Uint32(); sw != level {
		r.Fail("union switch %d at level %d", sw, level)
	}
	if level != 2 && level != 502 && level != 503 {
		return s, false, r.Err()
	}
	if !r.Pointer() {
		r.Fail("no share")
	}
	readShare(r, level, &s)
	return s, true, r.Err()
}

// readShare reads SHARE_INFO_2, _502_I or _503_I.
func readShare(r *dcerpc.Reader, level uint32, s *Share) {
	name := r.Pointer()
	s.Type = r.Uint32()
	remark := r.Pointer()
	r.Uint32() // permissions
	s.MaxUses, s.Uses = r.Uint32(), r.Uint32()
	path, password := r.Pointer(), r.Pointer()
	var server, security bool
	if level == 503 {
		server = r.Pointer()
	}
	if level != 2 {
		r.Uint32()
		security = r.Pointer()
	}
	for _, f := range []struct {
		present bool
		to      *string
	}{{name, &s.Name}, {remark, &s.Remark}, {path, &s.Path}, {password, nil}, {server, nil}} {
		if !f.present {
			continue
		}
		text := r.String()
		if f.to != nil {
			*f.to = text
		}
	}
	if security {
		s.Security = append([]byte(nil), r.Bytes(r.Count(1))...)
	}
}

// ShareParts are members of a Share that NetrShareSetInfo changes.
type ShareParts uint8

const (
	PartRemark ShareParts = 1 << iota
	PartMaxUses
	PartSecurity
	PartFlags
	PartNone // a level that can be set, and sets nothing
)

// shareParts are what the levels of NetrShareSetInfo change; others cannot be set.
var shareParts = map[uint32]ShareParts{
	1: PartRemark, 2: PartRemark | PartMaxUses, 502: PartRemark | PartMaxUses | PartSecurity,
	503: PartRemark | PartMaxUses | PartSecurity, 1004: PartRemark, 1005: PartFlags, 1006: PartMaxUses, 1501: PartSecurity,
}

// DecodeShareSetInfo reads NetrShareSetInfo (MS-SRVS 3.1.4.11). parts is 0 for a level
// that cannot be set; a descriptor of no bytes is no part.
func DecodeShareSetInfo(stub dcerpc.Stub) (name string, s Share, parts ShareParts, err error) {
	r := stub.Reader()
	r.OptString()
	name = r.String()
	level := r.Uint32()
	if sw := r.Uint32(); sw != level {
		r.Fail("union switch %d at level %d", sw, level)
	}
	parts = shareParts[level]
	if parts == 0 {
		return name, s, 0, r.Err()
	}
	if !r.Pointer() {
		r.Fail("no share")
	}
	switch level {
	case 1:
		present := r.Pointer()
		s.Type = r.Uint32()
		remark := r.Pointer()
		if present {
			s.Name = r.String()
		}
		if remark {
			s.Remark = r.String()
		}
	case 1004:
		s.Remark, _ = r.OptString()
	case 1005:
		s.Flags = r.Uint32()
	case 1006:
		s.MaxUses = r.Uint32()
	case 1501:
		r.Uint32()
		if r.Pointer() {
			s.Security = append([]byte(nil), r.Bytes(r.Count(1))...)
		}
	default:
		readShare(r, level, &s)
	}
	if len(s.Security) == 0 {
		parts &^= PartSecurity
		if level == 1501 {
			parts = PartNone
		}
	}
	return name, s, parts, r.Err()
}

// DecodeShareName reads NetrShareDel, NetrShareDelSticky and NetrShareCheck.
func DecodeShareName(stub dcerpc.Stub) (name string, err error) {
	r := stub.Reader()
	r.OptString()
	name = r.String()
	return name, r.Err()
}

// Members of SHARE_INFO as ParmErr names them (MS-SRVS 2.2.2.11).
const (
	ParmName     = 1
	ParmType     = 3
	ParmRemark   = 4
	ParmPath     = 8
	ParmSecurity = 501
)

// EncodeParmErr answers NetrShareAdd and NetrShareSetInfo: parm names the
// member that is wrong, 0 none.
func EncodeParmErr(parm, result uint32) []byte {
	var w dcerpc.Writer
	w.Pointer(func(w *dcerpc.Writer) { w.Uint32(parm) })
	w.Flush()
	w.Uint32(result)
	return w.Bytes()
}

// EncodeShareCheck answers NetrShareCheck (MS-SRVS 3.1.4.16), whose request
// DecodeShareName reads.
func EncodeShareCheck(kind, result uint32) []byte {
	var w dcerpc.Writer
	w.Uint32(kind)
	w.Uint32(result)
	return w.Bytes()
}

// Transport has the members of SERVER_TRANSPORT_INFO 0 to 2 (MS-SRVS 2.2.4.93 ff).
type Transport struct {
	Clients uint32
	Device  string // \Device\…
	Name    []byte // the server's name as the transport has it
	Address string
	Domain  string
}

// DecodeTransportEnum reads NetrServerTransportEnum (MS-SRVS 3.1.4.24).
func DecodeTransportEnum(stub dcerpc.Stub) (EnumRequest, error) { return DecodeShareEnum(stub) }

// EncodeTransportEnum answers it.
func (v *EnumRequest) EncodeTransportEnum(list []Transport) []byte {
	return v.encodeEnum(len(list), v.Level <= 2, func(w *dcerpc.Writer, i int) {
		t := &list[i]
		w.Uint32(t.Clients)
		w.StringPointer(t.Device)
		w.Pointer(func(w *dcerpc.Writer) {
			w.Uint32(uint32(len(t.Name)))
			w.Raw(t.Name)
		})
		w.Uint32(uint32(len(t.Name)))
		w.StringPointer(t.Address)
		if v.Level >= 1 {
			w.StringPointer(t.Domain)
		}
		if v.Level == 2 {
			w.Uint32(0)
		}
	})
}
