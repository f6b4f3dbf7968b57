package smb2

import (
	"net/netip"

	"gabion/protocol/dtyp"
)

// NetworkResiliencyRequest is the input of FSCTL_LMR_REQUEST_RESILIENCY
// ([MS-SMB2] 2.2.31.3).
type NetworkResiliencyRequest struct {
	Timeout  uint32 // milliseconds
	Reserved uint32
}

// Decode reads the input buffer.
func (r *NetworkResiliencyRequest) Decode(b []byte) error {
	if len(b) < 8 {
		return malformed("NETWORK_RESILIENCY_REQUEST", "truncated")
	}
	r.Timeout, r.Reserved = le.Uint32(b), le.Uint32(b[4:])
	return nil
}

// AppendTo appends the input buffer.
func (r *NetworkResiliencyRequest) AppendTo(b []byte) []byte {
	return le.AppendUint32(le.AppendUint32(b, r.Timeout), r.Reserved)
}

// ValidateNegotiateInfoRequest is the input of FSCTL_VALIDATE_NEGOTIATE_INFO
// ([MS-SMB2] 2.2.31.4).
type ValidateNegotiateInfoRequest struct {
	Capabilities Capabilities
	GUID         dtyp.GUID
	SecurityMode SecurityMode
	Dialects     []Dialect
}

// Decode reads the input buffer.
func (r *ValidateNegotiateInfoRequest) Decode(b []byte) error {
	const name = "VALIDATE_NEGOTIATE_INFO request"
	if len(b) < 24 {
		return malformed(name, "truncated")
	}
	n := int(le.Uint16(b[22:]))
	if len(b) < 24+2*n {
		return malformed(name, "DialectCount")
	}
	r.Capabilities, r.GUID, r.SecurityMode = Capabilities(le.Uint32(b)), dtyp.GUID(b[4:20]), SecurityMode(le.Uint16(b[20:]))
	r.Dialects = decodeUint16s(r.Dialects, b[24:24+2*n])
	return nil
}

// AppendTo appends the input buffer.
func (r *ValidateNegotiateInfoRequest) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Capabilities))
	b = append(b, r.GUID[:]...)
	b = le.AppendUint16(b, uint16(r.SecurityMode))
	b = le.AppendUint16(b, uint16(len(r.Dialects)))
	return appendUint16s(b, r.Dialects)
}

// ValidateNegotiateInfoResponse is its output ([MS-SMB2] 2.2.32.6).
type ValidateNegotiateInfoResponse struct {
	Capabilities Capabilities
	GUID         dtyp.GUID
	SecurityMode SecurityMode
	Dialect      Dialect
}

// ValidateNegotiateInfoResponseSize is the length of that output.
const ValidateNegotiateInfoResponseSize = 24

// Decode reads the output buffer.
func (r *ValidateNegotiateInfoResponse) Decode(b []byte) error {
	if len(b) < ValidateNegotiateInfoResponseSize {
		return malformed("VALIDATE_NEGOTIATE_INFO response", "truncated")
	}
	*r = ValidateNegotiateInfoResponse{
		Capabilities(le.Uint32(b)), dtyp.GUID(b[4:20]), SecurityMode(le.Uint16(b[20:])), Dialect(le.Uint16(b[22:])),
	}
	return nil
}

// AppendTo appends the output buffer.
func (r *ValidateNegotiateInfoResponse) AppendTo(b []byte) []byte {
	b = le.AppendUint32(b, uint32(r.Capabilities))
	b = append(b, r.GUID[:]...)
	b = le.AppendUint16(b, uint16(r.SecurityMode))
	return le.AppendUint16(b, uint16(r.Dialect))
}

// InterfaceCapability is what a network interface can do ([MS-SMB2] 2.2.32.5).
type InterfaceCapability uint32

// RSS_CAPABLE and RDMA_CAPABLE.
const (
	InterfaceRSS  InterfaceCapability = 0x00000001
	InterfaceRDMA InterfaceCapability = 0x00000002
)

// Address families of SOCKADDR_STORAGE ([MS-SMB2] 2.2.32.5.1).
const (
	familyInterNetwork   = 0x0002
	familyInterNetworkV6 = 0x0017
)

// NetworkInterfaceInfo is one element of the output of
// FSCTL_QUERY_NETWORK_INTERFACE_INFO ([MS-SMB2] 2.2.32.5).
type NetworkInterfaceInfo struct {
	IfIndex    uint32
	Capability InterfaceCapability
	LinkSpeed  uint64 // bits per second
	Address    netip.Addr
}

// NetworkInterfaceInfoSize is the length of one element; it is a multiple of 8.
const NetworkInterfaceInfoSize = 152

// AppendNetworkInterfaces appends a list as one output buffer.
func AppendNetworkInterfaces(b []byte, list []NetworkInterfaceInfo) []byte {
	for i, n := range list {
		var p []byte
		b, p = grow(b, NetworkInterfaceInfoSize)
		if i < len(list)-1 {
			le.PutUint32(p, NetworkInterfaceInfoSize)
		}
		le.PutUint32(p[4:], n.IfIndex)
		le.PutUint32(p[8:], uint32(n.Capability))
		le.PutUint64(p[16:], n.LinkSpeed)
		if n.Address.Is4() || n.Address.Is4In6() {
			le.PutUint16(p[24:], familyInterNetwork)
			a := n.Address.As4()
			copy(p[28:], a[:])
		} else if n.Address.Is6() {
			le.PutUint16(p[24:], familyInterNetworkV6)
			a := n.Address.As16()
			copy(p[32:], a[:])
		}
	}
	return b
}

// DecodeNetworkInterfaces reads an output buffer. An element of an unknown address
// family has an invalid Address.
func DecodeNetworkInterfaces(b []byte) ([]NetworkInterfaceInfo, error) {
	const name = "NETWORK_INTERFACE_INFO"
	var list []NetworkInterfaceInfo
	for len(b) > 0 {
		if len(b) < NetworkInterfaceInfoSize {
			return nil, malformed(name, "truncated")
		}
		n := NetworkInterfaceInfo{IfIndex: le.Uint32(b[4:]), Capability: InterfaceCapability(le.Uint32(b[8:])), LinkSpeed: le.Uint64(b[16:])}
		switch le.Uint16(b[24:]) {
		case familyInterNetwork:
			n.Address = netip.AddrFrom4([4]byte(b[28:32]))
		case familyInterNetworkV6:
			n.Address = netip.AddrFrom16([16]byte(b[32:48]))
		}
		list = append(list, n)
		next := le.Uint32(b)
		if next == 0 {
			break
		}
		if next%8 != 0 || next < NetworkInterfaceInfoSize || uint64(next) >= uint64(len(b)) {
			return nil, malformed(name, "Next")
		}
		b = b[next:]
	}
	return list, nil
}

// SrvSnapshotArray is the output of FSCTL_SRV_ENUMERATE_SNAPSHOTS
// ([MS-SMB2] 2.2.32.2).
type SrvSnapshotArray struct {
	NumberOfSnapshots         uint32
	NumberOfSnapshotsReturned uint32
	SnapshotArraySize         uint32
	Snapshots                 []string // @GMT tokens
}

// SnapshotTokenSize is the room of one @GMT token with its end mark.
const SnapshotTokenSize = 2 * (len("@GMT-YYYY.MM.DD-HH.MM.SS") + 1)

const snapshotArrayFixed = 12

// Decode reads the output buffer. The returned tokens are those that are there in
// full; SnapshotArraySize may announce more than the buffer holds.
func (a *SrvSnapshotArray) Decode(b []byte) error {
	if len(b) < snapshotArrayFixed {
		return malformed("SRV_SNAPSHOT_ARRAY", "truncated")
	}
	*a = SrvSnapshotArray{le.Uint32(b), le.Uint32(b[4:]), le.Uint32(b[8:]), a.Snapshots[:0]}
	if a.NumberOfSnapshotsReturned == 0 {
		return nil
	}
	b = b[snapshotArrayFixed:]
	if uint64(a.SnapshotArraySize) > uint64(len(b)) {
		return malformed("SRV_SNAPSHOT_ARRAY", "SnapShotArraySize")
	}
	b = b[:a.SnapshotArraySize]
	for n := a.NumberOfSnapshotsReturned; n > 0; n-- {
		end := utf16End(b)
		if end <= 0 {
			return malformed("SRV_SNAPSHOT_ARRAY", "SnapShots")
		}
		a.Snapshots = append(a.Snapshots, dtyp.DecodeUTF16(b[:end]))
		b = b[end+2:]
	}
	return nil
}

// utf16End returns the offset of the first zero character, -1 if there is none.
func utf16End(b []byte) int {
	for i := 0; i+1 < len(b); i += 2 {
		if b[i] == 0 && b[i+1] == 0 {
			return i
		}
	}
	return -1
}

// AppendTo appends the output buffer for a client whose buffer holds max bytes: all
// of Snapshots, or, if they do not fit, their number and the room they need
// ([MS-SMB2] 3.3.5.15.1). The three numbers are computed. Without snapshots the
// array is the two end marks alone.
func (a *SrvSnapshotArray) AppendTo(b []byte, max uint32) []byte {
	size := 2
	for _, s := range a.Snapshots {
		size += 2*dtyp.UTF16Len(s) + 2
	}
	if len(a.Snapshots) == 0 {
		size = 4
	}
	returned := len(a.Snapshots)
	fits := uint64(snapshotArrayFixed+size) <= uint64(max)
	if !fits {
		returned = 0
	}
	b = le.AppendUint32(b, uint32(len(a.Snapshots)))
	b = le.AppendUint32(b, uint32(returned))
	b = le.AppendUint32(b, uint32(size))
	if !fits {
		// Windows adds two zero bytes (note 68); smbclient wants 16 altogether.
		return append(b, 0, 0, 0, 0)
	}
	for _, s := range a.Snapshots {
		b = append(dtyp.AppendUTF16(b, s), 0, 0)
	}
	if returned == 0 {
		b = append(b, 0, 0)
	}
	return append(b, 0, 0)
}
