package srvsvc

import "gabion/protocol/dcerpc"

// Session has the members of SESSION_INFO 0, 1, 2, 10 and 502 (MS-SRVS 2.2.4.11 ff).
type Session struct {
	Client, User string
	Opens        uint32
	Active, Idle uint32 // seconds
	Guest        bool
}

// File has the members of FILE_INFO 2 and 3 (MS-SRVS 2.2.4.6, 2.2.4.7).
type File struct {
	ID, Permissions, Locks uint32
	Path, User             string
}

// Connection has the members of CONNECTION_INFO 0 and 1 (MS-SRVS 2.2.4.1, 2.2.4.2).
type Connection struct {
	ID, Type, Opens, Users, Seconds uint32
	User, Share                     string
}

// DecodeSessionEnum reads NetrSessionEnum (MS-SRVS 3.1.4.5).
func DecodeSessionEnum(stub dcerpc.Stub) (EnumRequest, error) {
	r := stub.Reader()
	var v EnumRequest
	r.OptString()
	v.Client, _ = r.OptString()
	v.User, _ = r.OptString()
	enumStruct(r, &v)
	enumTail(r, &v)
	return v, r.Err()
}

// DecodeFileEnum reads NetrFileEnum (MS-SRVS 3.1.4.2).
func DecodeFileEnum(stub dcerpc.Stub) (EnumRequest, error) {
	r := stub.Reader()
	var v EnumRequest
	r.OptString()
	v.Path, _ = r.OptString()
	v.User, _ = r.OptString()
	enumStruct(r, &v)
	enumTail(r, &v)
	return v, r.Err()
}

// DecodeConnectionEnum reads NetrConnectionEnum (MS-SRVS 3.1.4.1).
func DecodeConnectionEnum(stub dcerpc.Stub) (EnumRequest, error) {
	r := stub.Reader()
	var v EnumRequest
	r.OptString()
	v.Qualifier, _ = r.OptString()
	enumStruct(r, &v)
	enumTail(r, &v)
	return v, r.Err()
}

// EncodeSessionEnum answers NetrSessionEnum.
func (v *EnumRequest) EncodeSessionEnum(sessions []Session) []byte {
	const guestFlag = 1 // SESS_GUEST
	flags := func(s *Session) uint32 {
		if s.Guest {
			return guestFlag
		}
		return 0
	}
	levels := map[uint32]func(w *dcerpc.Writer, s *Session){
		0: func(w *dcerpc.Writer, s *Session) { w.StringPointer(s.Client) },
		1: func(w *dcerpc.Writer, s *Session) {
			w.StringPointer(s.Client)
			w.StringPointer(s.User)
			w.Uint32(s.Opens)
			w.Uint32(s.Active)
			w.Uint32(s.Idle)
			w.Uint32(flags(s))
		},
		2: func(w *dcerpc.Writer, s *Session) {
			w.StringPointer(s.Client)
			w.StringPointer(s.User)
			w.Uint32(s.Opens)
			w.Uint32(s.Active)
			w.Uint32(s.Idle)
			w.Uint32(flags(s))
			w.StringPointer("")
		},
		10: func(w *dcerpc.Writer, s *Session) {
			w.StringPointer(s.Client)
			w.StringPointer(s.User)
			w.Uint32(s.Active)
			w.Uint32(s.Idle)
		},
		502: func(w *dcerpc.Writer, s *Session) {
			w.StringPointer(s.Client)
			w.StringPointer(s.User)
			w.Uint32(s.Opens)
			w.Uint32(s.Active)
			w.Uint32(s.Idle)
			w.Uint32(flags(s))
			w.StringPointer("")
			w.StringPointer("")
		},
	}
	fields := levels[v.Level]
	return v.encodeEnum(len(sessions), fields != nil, func(w *dcerpc.Writer, i int) { fields(w, &sessions[i]) })
}

// EncodeFileEnum answers NetrFileEnum.
func (v *EnumRequest) EncodeFileEnum(files []File) []byte {
	known := v.Level == 2 || v.Level == 3
	return v.encodeEnum(len(files), known, func(w *dcerpc.Writer, i int) { writeFile(w, v.Level, &files[i]) })
}

func writeFile(w *dcerpc.Writer, level uint32, f *File) {
	w.Uint32(f.ID)
	if level == 2 {
		return
	}
	w.Uint32(f.Permissions)
	w.Uint32(f.Locks)
	w.StringPointer(f.Path)
	w.StringPointer(f.User)
}

// EncodeConnectionEnum answers NetrConnectionEnum.
func (v *EnumRequest) EncodeConnectionEnum(list []Connection) []byte {
	return v.encodeEnum(len(list), v.Level <= 1, func(w *dcerpc.Writer, i int) {
		c := &list[i]
		w.Uint32(c.ID)
		if v.Level == 0 {
			return
		}
		w.Uint32(c.Type)
		w.Uint32(c.Opens)
		w.Uint32(c.Users)
		w.Uint32(c.Seconds)
		w.StringPointer(c.User)
		w.StringPointer(c.Share)
	})
}

// DecodeFileID reads NetrFileClose, and NetrFileGetInfo with its level.
func DecodeFileID(stub dcerpc.Stub, withLevel bool) (id, level uint32, err error) {
	r := stub.Reader()
	r.OptString()
	id = r.Uint32()
	if withLevel {
		level = r.Uint32()
	}
	return id, level, r.Err()
}

// EncodeFileGetInfo answers NetrFileGetInfo (MS-SRVS 3.1.4.3).
func EncodeFileGetInfo(level uint32, f *File, result uint32) []byte {
	if result == Success && level != 2 && level != 3 {
		result = InvalidLevel
	}
	return encodeInfo(level, result, func(w *dcerpc.Writer) { writeFile(w, level, f) })
}

// DecodeSessionDel reads NetrSessionDel (MS-SRVS 3.1.4.6).
func DecodeSessionDel(stub dcerpc.Stub) (client, user string, err error) {
	r := stub.Reader()
	r.OptString()
	client, _ = r.OptString()
	user, _ = r.OptString()
	return client, user, r.Err()
}
