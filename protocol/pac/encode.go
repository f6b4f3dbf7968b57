package pac

import (
	"encoding/binary"

	"gabion/protocol/dcerpc"
	"gabion/protocol/dtyp"
)

// Encode returns the PAC's bytes as a KDC would send them, with the signatures
// given. To sign, encode with values of the right length and compute the
// signature over that PAC's Signed.
func (p *PAC) Encode() []byte {
	type buffer struct {
		kind Type
		data []byte
	}
	buffers := []buffer{{TypeLogonInfo, p.Logon.encode()}, {TypeClientInfo, p.Client.encode()}}
	if p.UPN != nil {
		buffers = append(buffers, buffer{TypeUPNInfo, p.UPN.encode()})
	}
	if p.Delegation != nil {
		buffers = append(buffers, buffer{TypeDelegation, p.Delegation.encode()})
	}
	if p.Attributes != nil {
		b := binary.LittleEndian.AppendUint32(nil, 2)
		buffers = append(buffers, buffer{TypeAttributes, binary.LittleEndian.AppendUint32(b, *p.Attributes)})
	}
	if !p.Requestor.IsZero() {
		buffers = append(buffers, buffer{TypeRequestor, p.Requestor.Append(nil)})
	}
	buffers = append(buffers, buffer{TypeServerSignature, p.Server.encode()}, buffer{TypeKDCSignature, p.KDC.encode()})

	b := make([]byte, headerLen+infoLen*len(buffers))
	binary.LittleEndian.PutUint32(b, uint32(len(buffers)))
	for i, f := range buffers {
		head := b[headerLen+infoLen*i:]
		binary.LittleEndian.PutUint32(head, uint32(f.kind))
		binary.LittleEndian.PutUint32(head[4:], uint32(len(f.data)))
		binary.LittleEndian.PutUint64(head[8:], uint64(len(b)))
		b = append(b, f.data...)
		b = append(b, make([]byte, (8-len(b)%8)%8)...)
	}
	return b
}

func (s *Signature) encode() []byte {
	b := append(binary.LittleEndian.AppendUint32(nil, uint32(s.Kind)), s.Value...)
	if s.RODC != 0 {
		b = binary.LittleEndian.AppendUint16(b, s.RODC)
	}
	return b
}

func (c *ClientInfo) encode() []byte {
	name := dtyp.EncodeUTF16(c.Name)
	b := binary.LittleEndian.AppendUint64(nil, uint64(c.AuthTime))
	b = binary.LittleEndian.AppendUint16(b, uint16(len(name)))
	return append(b, name...)
}

func (u *UPNInfo) encode() []byte {
	b := make([]byte, upnHead, 128)
	flags := uint32(0)
	if u.Constructed {
		flags |= upnConstructed
	}
	extended := u.Account != "" || !u.SID.IsZero()
	if extended {
		flags |= upnExtended
		b = b[:upnHeadExtended]
	}
	binary.LittleEndian.PutUint32(b[8:], flags)
	part := func(at int, p []byte) {
		b = append(b, make([]byte, (8-len(b)%8)%8)...)
		binary.LittleEndian.PutUint16(b[at:], uint16(len(p)))
		binary.LittleEndian.PutUint16(b[at+2:], uint16(len(b)))
		b = append(b, p...)
	}
	part(0, dtyp.EncodeUTF16(u.UPN))
	part(4, dtyp.EncodeUTF16(u.DNSDomain))
	if extended {
		part(12, dtyp.EncodeUTF16(u.Account))
		part(16, u.SID.Append(nil))
	}
	return b
}

// serialize puts the headers of type serialization version 1 in front of a
// structure ([MS-RPCE] 2.2.6).
func serialize(structure func(*dcerpc.Writer)) []byte {
	w := &dcerpc.Writer{}
	w.Raw([]byte{1, 0x10, 8, 0, 0xcc, 0xcc, 0xcc, 0xcc, 0, 0, 0, 0, 0, 0, 0, 0})
	w.Pointer(structure)
	w.Flush()
	w.Align(8)
	b := w.Bytes()
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-16))
	return b
}

func putFiletime(w *dcerpc.Writer, f dtyp.Filetime) {
	w.Uint32(uint32(f))
	w.Uint32(uint32(f >> 32))
}

func putText(w *dcerpc.Writer, s string) {
	u := dtyp.EncodeUTF16(s)
	w.Uint16(uint16(len(u)))
	w.Uint16(uint16(len(u)))
	if len(u) == 0 {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		n := uint32(len(u) / 2)
		w.Uint32(n)
		w.Uint32(0)
		w.Uint32(n)
		w.Raw(u)
	})
}

func putSID(w *dcerpc.Writer, s dtyp.SID) {
	if s.IsZero() {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(s.Count()))
		w.Raw(s.Append(nil))
	})
}

func putMemberships(w *dcerpc.Writer, list []Membership) {
	w.Uint32(uint32(len(list)))
	if len(list) == 0 {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(len(list)))
		for _, m := range list {
			w.Uint32(m.RID)
			w.Uint32(m.Attributes)
		}
	})
}

func putGroups(w *dcerpc.Writer, list []Group) {
	w.Uint32(uint32(len(list)))
	if len(list) == 0 {
		w.Pointer(nil)
		return
	}
	w.Pointer(func(w *dcerpc.Writer) {
		w.Uint32(uint32(len(list)))
		for _, g := range list {
			putSID(w, g.SID)
			w.Uint32(g.Attributes)
		}
	})
}

func (l *LogonInfo) encode() []byte {
	zeros := make([]byte, 36)
	return serialize(func(w *dcerpc.Writer) {
		putFiletime(w, l.LogonTime)
		putFiletime(w, l.LogoffTime)
		putFiletime(w, l.KickOffTime)
		w.Raw(zeros[:24])
		putText(w, l.Account)
		putText(w, l.FullName)
		for range 4 {
			putText(w, "")
		}
		w.Raw(zeros[:4])
		w.Uint32(l.UserID)
		w.Uint32(l.PrimaryGroup)
		putMemberships(w, l.Groups)
		w.Uint32(l.UserFlags)
		w.Raw(zeros[:16])
		putText(w, l.LogonServer)
		putText(w, l.DomainName)
		putSID(w, l.Domain)
		w.Raw(zeros[:8])
		w.Uint32(l.UserAccountControl)
		w.Raw(zeros[:28])
		putGroups(w, l.ExtraSIDs)
		putSID(w, l.ResourceDomain)
		putMemberships(w, l.ResourceGroups)
	})
}

func (d *Delegation) encode() []byte {
	return serialize(func(w *dcerpc.Writer) {
		putText(w, d.Target)
		w.Uint32(uint32(len(d.Transited)))
		w.Pointer(func(w *dcerpc.Writer) {
			w.Uint32(uint32(len(d.Transited)))
			for _, s := range d.Transited {
				putText(w, s)
			}
		})
	})
}
