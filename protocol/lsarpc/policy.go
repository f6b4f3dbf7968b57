package lsarpc

import (
	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
)

// DecodeOpenPolicy reads LsarOpenPolicy and LsarOpenPolicy2 (MS-LSAD 3.1.4.4.1):
// of their parameters only the last, DesiredAccess, means anything.
func DecodeOpenPolicy(stub dcerpc.Stub) (access dtyp.AccessMask, err error) {
	if len(stub.Data) < 4 {
		return 0, dcerpc.ErrMalformed
	}
	stub.Data = stub.Data[len(stub.Data)-4:]
	r := stub.Reader()
	return dtyp.AccessMask(r.Uint32()), r.Err()
}

// DecodeHandle reads LsarClose.
func DecodeHandle(stub dcerpc.Stub) (Handle, error) {
	r := stub.Reader()
	return readHandle(r), r.Err()
}

// EncodeHandle answers LsarOpenPolicy and LsarClose.
func EncodeHandle(h Handle, status ntstatus.Status) []byte {
	var w dcerpc.Writer
	writeHandle(&w, h)
	w.Uint32(uint32(status))
	return w.Bytes()
}

// Classes of LsarQueryInformationPolicy (MS-LSAD 2.2.4.1).
const (
	PolicyPrimaryDomain = 3
	PolicyPdAccount     = 4
	PolicyAccountDomain = 5
	PolicyServerRole    = 6
	PolicyDNSDomain     = 12
)

// serverRolePrimary is PolicyServerRolePrimary (MS-LSAD 2.2.4.8).
const serverRolePrimary = 3

// Policy is what the server says about itself.
type Policy struct {
	AccountDomain string // the server's own accounts
	AccountSID    dtyp.SID
	PrimaryDomain string // the domain it is in, or its workgroup
	PrimarySID    dtyp.SID
	DNSDomain     string
	Forest        string
	DomainGUID    dtyp.GUID
}

// DecodeQueryPolicy reads LsarQueryInformationPolicy and …2 (MS-LSAD 3.1.4.4.4).
func DecodeQueryPolicy(stub dcerpc.Stub) (h Handle, class uint16, err error) {
	r := stub.Reader()
	h, class = readHandle(r), r.Uint16()
	return h, class, r.Err()
}

// policyArms writes the members of each class.
var policyArms = map[uint16]func(w *dcerpc.Writer, p *Policy){
	PolicyPrimaryDomain: func(w *dcerpc.Writer, p *Policy) {
		writeUnicode(w, p.PrimaryDomain, 2)
		writeSID(w, p.PrimarySID)
	},
	PolicyPdAccount: func(w *dcerpc.Writer, _ *Policy) { writeUnicode(w, "", 0) },
	PolicyAccountDomain: func(w *dcerpc.Writer, p *Policy) {
		writeUnicode(w, p.AccountDomain, 2)
		writeSID(w, p.AccountSID)
	},
	PolicyServerRole: func(w *dcerpc.Writer, _ *Policy) { w.Uint16(serverRolePrimary) },
	PolicyDNSDomain: func(w *dcerpc.Writer, p *Policy) {
		writeUnicode(w, p.PrimaryDomain, 2)
		writeUnicode(w, p.DNSDomain, 2)
		writeUnicode(w, p.Forest, 2)
		w.GUID(p.DomainGUID)
		writeSID(w, p.PrimarySID)
	},
}

// EncodeQueryPolicy answers it; a class that this kind of server does not have
// is STATUS_INVALID_PARAMETER.
func EncodeQueryPolicy(class uint16, p *Policy, status ntstatus.Status) []byte {
	arm := policyArms[class]
	if arm == nil && status == ntstatus.Success {
		status = ntstatus.InvalidParameter
	}
	var w dcerpc.Writer
	if status != ntstatus.Success {
		w.Pointer(nil)
	} else {
		w.Pointer(func(w *dcerpc.Writer) {
			w.Uint16(class)
			if class != PolicyServerRole {
				w.Align(4)
			}
			arm(w, p)
		})
	}
	w.Flush()
	w.Uint32(uint32(status))
	return w.Bytes()
}

// DecodeGetUserName reads LsarGetUserName (MS-LSAT 3.1.4.2); withDomain says
// whether the caller wants the domain too.
func DecodeGetUserName(stub dcerpc.Stub) (withDomain bool, err error) {
	r := stub.Reader()
	r.OptString()
	r.Align(4)
	if r.Pointer() {
		readUnicode(r)
		r.Align(4)
	}
	if withDomain = r.Pointer(); withDomain && r.Pointer() {
		readUnicode(r)
	}
	return withDomain, r.Err()
}

// EncodeGetUserName answers it.
func EncodeGetUserName(user, domain string, withDomain bool, status ntstatus.Status) []byte {
	name := func(s string) func(w *dcerpc.Writer) {
		if status != ntstatus.Success {
			return nil
		}
		return func(w *dcerpc.Writer) { writeUnicode(w, s, 0) }
	}
	var w dcerpc.Writer
	w.Pointer(name(user))
	w.Flush()
	if withDomain {
		w.Pointer(func(w *dcerpc.Writer) { w.Pointer(name(domain)) })
	} else {
		w.Pointer(nil)
	}
	w.Flush()
	w.Uint32(uint32(status))
	return w.Bytes()
}
