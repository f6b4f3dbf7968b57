package smb2

import "bytes"

// The dialect strings by which an SMB1 negotiate offers SMB2 ([MS-SMB2] 2.2.3,
// 3.3.5.3).
const (
	SMB1Dialect202      = "SMB 2.002"
	SMB1DialectWildcard = "SMB 2.???"
)

const (
	smb1HeaderSize       = 32
	smb1CommandNegotiate = 0x72
	smb1FlagReply        = 0x80
)

// SMB1Negotiate is the part of an SMB_COM_NEGOTIATE request that a multi-protocol
// negotiate needs ([MS-CIFS] 2.2.4.52.1, [MS-SMB2] 3.3.5.3).
type SMB1Negotiate struct {
	Has202      bool // "SMB 2.002" was offered
	HasWildcard bool // "SMB 2.???" was offered
}

// Decode reads a frame that begins with ProtocolSMB1. Anything but a well-formed
// negotiate request is an error: this server has nothing to say to it.
func (n *SMB1Negotiate) Decode(frame []byte) error {
	const name = "SMB_COM_NEGOTIATE"
	*n = SMB1Negotiate{}
	// Header, WordCount, ByteCount.
	if len(frame) < smb1HeaderSize+3 {
		return malformed(name, "truncated")
	}
	if le.Uint32(frame) != ProtocolSMB1 {
		return malformed(name, "Protocol")
	}
	if frame[4] != smb1CommandNegotiate || frame[9]&smb1FlagReply != 0 {
		return malformed(name, "Command")
	}
	if frame[smb1HeaderSize] != 0 {
		return malformed(name, "WordCount")
	}
	list := frame[smb1HeaderSize+3:]
	if count := int(le.Uint16(frame[smb1HeaderSize+1:])); count > len(list) {
		return malformed(name, "ByteCount")
	} else {
		list = list[:count]
	}
	for len(list) > 0 {
		// BufferFormat 2, then a string that ends with a zero byte.
		end := bytes.IndexByte(list, 0)
		if list[0] != 0x02 || end < 0 {
			return malformed(name, "Dialects")
		}
		switch string(list[1:end]) {
		case SMB1Dialect202:
			n.Has202 = true
		case SMB1DialectWildcard:
			n.HasWildcard = true
		}
		list = list[end+1:]
	}
	return nil
}

// AppendSMB1Negotiate appends an SMB_COM_NEGOTIATE request that offers dialects, in
// the form clients send it.
func AppendSMB1Negotiate(b []byte, dialects ...string) []byte {
	b, p := grow(b, smb1HeaderSize+3)
	le.PutUint32(p, ProtocolSMB1)
	p[4] = smb1CommandNegotiate
	p[9] = 0x18                  // canonicalised, caseless paths
	le.PutUint16(p[10:], 0xC853) // Flags2: unicode, NT status, extended security, long names
	le.PutUint16(p[24:], 0xFFFF) // TID
	le.PutUint16(p[26:], 0xFEFF) // PIDLow
	count := 0
	for _, d := range dialects {
		b = append(append(append(b, 0x02), d...), 0)
		count += len(d) + 2
	}
	le.PutUint16(b[len(b)-count-2:], uint16(count))
	return b
}
