package pac

import (
	"encoding/binary"
	"errors"
	"fmt"

	"gabion/protocol/dtyp"
)

// ErrMalformed is wrapped by every decoding error of this package.
var ErrMalformed = errors.New("malformed PAC")

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// Type is ulType of a PAC_INFO_BUFFER ([MS-PAC] 2.4).
type Type uint32

const (
	TypeLogonInfo         Type = 1
	TypeCredentials       Type = 2
	TypeServerSignature   Type = 6
	TypeKDCSignature      Type = 7
	TypeClientInfo        Type = 10
	TypeDelegation        Type = 11
	TypeUPNInfo           Type = 12
	TypeClientClaims      Type = 13
	TypeDeviceInfo        Type = 14
	TypeDeviceClaims      Type = 15
	TypeTicketSignature   Type = 16
	TypeAttributes        Type = 17
	TypeRequestor         Type = 18
	TypeExtendedSignature Type = 19
	TypeRequestorGUID     Type = 20
)

const (
	headerLen     = 8 // cBuffers, Version
	infoLen       = 16
	signatureHead = 4  // SignatureType
	maxBuffers    = 64 // twenty types are defined
)

// Signature is PAC_SIGNATURE_DATA ([MS-PAC] 2.8). Kind is a Kerberos checksum type.
type Signature struct {
	Kind  int32
	Value []byte
	// RODC is RODCIdentifier: the RODC whose key signed, 0 for none.
	RODC uint16
}

// Checksum types a PAC is signed with ([MS-PAC] 2.8), and their lengths.
const (
	HMACMD5          int32 = -138
	HMACSHA196AES128 int32 = 15
	HMACSHA196AES256 int32 = 16
	HMACSHA256AES128 int32 = 19
	HMACSHA384AES256 int32 = 20
)

// SignatureLen is the length of a signature of that kind, 0 if it is unknown.
func SignatureLen(kind int32) int {
	switch kind {
	case HMACMD5, HMACSHA256AES128:
		return 16
	case HMACSHA196AES128, HMACSHA196AES256:
		return 12
	case HMACSHA384AES256:
		return 24
	}
	return 0
}

// ClientInfo is PAC_CLIENT_INFO ([MS-PAC] 2.7): it ties the PAC to a ticket.
type ClientInfo struct {
	AuthTime dtyp.Filetime
	Name     string
}

// UPNInfo is UPN_DNS_INFO ([MS-PAC] 2.10).
type UPNInfo struct {
	UPN, DNSDomain string
	// Constructed says that the account has no userPrincipalName of its own.
	Constructed bool
	Account     string   // sAMAccountName, "" if the KDC does not tell
	SID         dtyp.SID // the user's, zero if the KDC does not tell
}

// PAC is a PACTYPE ([MS-PAC] 2.3) with the buffers that a server needs. Pointers are
// nil where the PAC has no such buffer.
type PAC struct {
	Logon      LogonInfo
	Client     ClientInfo
	Server     Signature
	KDC        Signature
	UPN        *UPNInfo
	Delegation *Delegation
	Attributes *uint32  // PAC_ATTRIBUTES_INFO's first flags
	Requestor  dtyp.SID // zero if absent

	signed []byte
}

// Signed is what the server signature covers: the PAC as it was received with the
// Signature fields of the server's and the KDC's signature zero ([MS-PAC] 2.8.4).
func (p *PAC) Signed() []byte { return p.signed }

func (p *PAC) String() string {
	return fmt.Sprintf("PAC of %s\\%s (%s), %d groups, %d extra, %d resource", p.Logon.DomainName, p.Logon.Account,
		p.Client.Name, len(p.Logon.Groups), len(p.Logon.ExtraSIDs), len(p.Logon.ResourceGroups))
}

// Decode reads a PAC. It keeps nothing of b. Of several buffers of one type the
// first counts; types it does not know are ignored.
func Decode(b []byte) (*PAC, error) {
	if len(b) < headerLen {
		return nil, malformed("%d bytes", len(b))
	}
	n := binary.LittleEndian.Uint32(b)
	if version := binary.LittleEndian.Uint32(b[4:]); version != 0 {
		return nil, malformed("version %d", version)
	}
	if n > maxBuffers || int(n) > (len(b)-headerLen)/infoLen {
		return nil, malformed("%d buffers in %d bytes", n, len(b))
	}
	p := &PAC{signed: append([]byte(nil), b...)}
	var seen [32]bool
	for i := range int(n) {
		head := b[headerLen+infoLen*i:]
		kind := Type(binary.LittleEndian.Uint32(head))
		size, offset := binary.LittleEndian.Uint32(head[4:]), binary.LittleEndian.Uint64(head[8:])
		if offset%8 != 0 || offset > uint64(len(b)) || uint64(size) > uint64(len(b))-offset {
			return nil, malformed("buffer of type %d: %d bytes at %d of %d", kind, size, offset, len(b))
		}
		if int(kind) >= len(seen) || seen[kind] {
			continue
		}
		seen[kind] = true
		if err := p.decode(kind, b[offset:offset+uint64(size)], int(offset)); err != nil {
			return nil, err
		}
	}
	for _, kind := range []Type{TypeLogonInfo, TypeClientInfo, TypeServerSignature, TypeKDCSignature} {
		if !seen[kind] {
			return nil, malformed("no buffer of type %d", kind)
		}
	}
	return p, nil
}

// decode reads one buffer; offset is where it stands in the PAC.
func (p *PAC) decode(kind Type, b []byte, offset int) (err error) {
	switch kind {
	case TypeLogonInfo:
		p.Logon, err = decodeLogonInfo(b)
	case TypeClientInfo:
		p.Client, err = decodeClientInfo(b)
	case TypeServerSignature:
		p.Server, err = p.signature(b, offset)
	case TypeKDCSignature:
		p.KDC, err = p.signature(b, offset)
	case TypeUPNInfo:
		p.UPN, err = decodeUPNInfo(b)
	case TypeDelegation:
		p.Delegation, err = decodeDelegation(b)
	case TypeAttributes:
		if len(b) >= 8 && binary.LittleEndian.Uint32(b) > 0 {
			flags := binary.LittleEndian.Uint32(b[4:])
			p.Attributes = &flags
		}
	case TypeRequestor:
		p.Requestor, _, err = dtyp.DecodeSID(b)
		if err != nil {
			err = malformed("requestor: %v", err)
		}
	}
	return err
}

// signature reads a signature and blanks it in p.signed.
func (p *PAC) signature(b []byte, offset int) (Signature, error) {
	if len(b) < signatureHead {
		return Signature{}, malformed("signature of %d bytes", len(b))
	}
	s := Signature{Kind: int32(binary.LittleEndian.Uint32(b))}
	n := SignatureLen(s.Kind)
	if n == 0 {
		return s, malformed("signature of unknown type %d", s.Kind)
	}
	if len(b) < signatureHead+n {
		return s, malformed("signature of type %d in %d bytes", s.Kind, len(b))
	}
	s.Value = append([]byte(nil), b[signatureHead:signatureHead+n]...)
	if rest := b[signatureHead+n:]; len(rest) >= 2 {
		s.RODC = binary.LittleEndian.Uint16(rest)
	}
	clear(p.signed[offset+signatureHead : offset+signatureHead+n])
	return s, nil
}

func decodeClientInfo(b []byte) (c ClientInfo, err error) {
	if len(b) < 10 {
		return c, malformed("client information of %d bytes", len(b))
	}
	n := int(binary.LittleEndian.Uint16(b[8:]))
	if n%2 != 0 || n > len(b)-10 {
		return c, malformed("client name of %d bytes in %d", n, len(b))
	}
	c.AuthTime = dtyp.Filetime(binary.LittleEndian.Uint64(b))
	c.Name = dtyp.DecodeUTF16(b[10 : 10+n])
	return c, nil
}

const (
	upnHead, upnHeadExtended    = 12, 20
	upnConstructed, upnExtended = 1, 2
)

func decodeUPNInfo(b []byte) (*UPNInfo, error) {
	if len(b) < upnHead {
		return nil, malformed("UPN information of %d bytes", len(b))
	}
	flags := binary.LittleEndian.Uint32(b[8:])
	u := &UPNInfo{Constructed: flags&upnConstructed != 0}
	var err error
	part := func(at int) []byte {
		n, off := int(binary.LittleEndian.Uint16(b[at:])), int(binary.LittleEndian.Uint16(b[at+2:]))
		if off > len(b) || n > len(b)-off {
			err = malformed("UPN information: %d bytes at %d of %d", n, off, len(b))
			return nil
		}
		return b[off : off+n]
	}
	u.UPN, u.DNSDomain = dtyp.DecodeUTF16(part(0)), dtyp.DecodeUTF16(part(4))
	if flags&upnExtended != 0 {
		if len(b) < upnHeadExtended {
			return nil, malformed("extended UPN information of %d bytes", len(b))
		}
		u.Account = dtyp.DecodeUTF16(part(12))
		if sid := part(16); err == nil && len(sid) > 0 {
			if u.SID, _, err = dtyp.DecodeSID(sid); err != nil {
				err = malformed("UPN information: %v", err)
			}
		}
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}
