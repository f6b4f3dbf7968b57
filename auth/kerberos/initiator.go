package kerberos

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"time"

	"gabion/protocol/krb5"
)

// Initiator shows a ticket to a service: it is how the array itself asks a domain
// controller. It is not safe for concurrent use, except that one goroutine may Wrap
// while another Unwraps.
type Initiator struct {
	Ticket  krb5.Ticket
	Session krb5.Key // the ticket's
	Client  krb5.Principal
	Realm   string // the client's

	auth     krb5.Authenticator
	key      krb5.Key
	acceptor bool // key is the acceptor's subkey
	send     uint64
	receive  uint64
}

var errToken = errors.New("kerberos: the service's token is wrong")

// Request makes the AP-REQ in its frame.
func (i *Initiator) Request(now time.Time, flags uint32) ([]byte, error) {
	var random [4]byte
	_, _ = rand.Read(random[:])
	number := binary.BigEndian.Uint32(random[:]) >> 2
	ask := krb5.ContextRequest{Flags: flags}
	i.auth = krb5.Authenticator{
		Realm: i.Realm, Client: i.Client, Time: now.UTC().Truncate(time.Second), Microsec: int32(now.Nanosecond() / 1000),
		Sequence: &number, Checksum: &krb5.Checksum{Type: krb5.ChecksumGSS, Value: ask.Encode()},
	}
	enc, err := seal(i.Session, usageAuthenticator, i.auth.Encode())
	if err != nil {
		return nil, err
	}
	i.key, i.send = i.Session, uint64(number)
	req := krb5.APReq{Ticket: i.Ticket, Authenticator: enc}
	if flags&krb5.FlagMutual != 0 {
		req.Options = krb5.OptionMutualRequired
	}
	return krb5.EncodeToken(krb5.TokenAPReq, req.Encode()), nil
}

// Finish checks the AP-REP: only the service that the ticket is for can make it.
func (i *Initiator) Finish(token []byte) error {
	id, body, err := krb5.DecodeToken(token)
	if err != nil {
		return err
	}
	if id == krb5.TokenError {
		e, err := krb5.DecodeError(body)
		if err != nil {
			return err
		}
		return &Error{Code: e.Code, Why: "the service refuses the ticket: " + e.Text, Service: i.Ticket.Service.String()}
	}
	rep, err := krb5.DecodeAPRep(body)
	if err != nil || id != krb5.TokenAPRep {
		return errToken
	}
	plain, err := open(i.Session, usageAPRep, rep.Enc)
	if err != nil {
		return err
	}
	part, err := krb5.DecodeEncAPRepPart(plain)
	if err != nil {
		return err
	}
	if !part.Time.Equal(i.auth.Time) || part.Microsec != i.auth.Microsec {
		return errToken
	}
	if part.Subkey != nil {
		if _, err := suiteOf(*part.Subkey); err != nil {
			return err
		}
		i.key, i.acceptor = *part.Subkey, true
	}
	if part.Sequence != nil {
		i.receive = uint64(*part.Sequence)
	}
	if i.key.EType == RC4 {
		return errors.New("kerberos: the service offers rc4 only")
	}
	return nil
}

// header is that of the next token.
func (i *Initiator) header(flags uint8) krb5.MessageHeader {
	h := krb5.MessageHeader{Wrap: true, Flags: flags, Sequence: i.send}
	if i.acceptor {
		h.Flags |= krb5.AcceptorSubkey
	}
	i.send++
	return h
}

// Sign returns a Wrap token that shows the message (RFC 4121 4.2.4, without
// confidentiality).
func (i *Initiator) Sign(message []byte) ([]byte, error) {
	h := i.header(0)
	sum, err := suites[i.key.EType].GetChecksumHash(i.key.Value, append(bytes.Clone(message), h.Append(nil)...), usageInitiatorSeal)
	if err != nil {
		return nil, err
	}
	h.EC = uint16(len(sum))
	return append(append(h.Append(nil), message...), sum...), nil
}

// Seal returns a Wrap token that hides the message.
func (i *Initiator) Seal(message []byte) ([]byte, error) {
	h := i.header(krb5.Sealed)
	enc, err := seal(i.key, usageInitiatorSeal, append(bytes.Clone(message), h.Append(nil)...))
	if err != nil {
		return nil, err
	}
	return append(h.Append(nil), enc.Cipher...), nil
}

// Unwrap returns the message of the service's next Wrap token, and whether it was
// hidden.
func (i *Initiator) Unwrap(token []byte) (message []byte, sealed bool, err error) {
	h, err := krb5.DecodeMessageHeader(token)
	if err != nil {
		return nil, false, err
	}
	if !h.Wrap || h.Flags&krb5.SentByAcceptor == 0 || (h.Flags&krb5.AcceptorSubkey != 0) != i.acceptor || h.Sequence != i.receive {
		return nil, false, errToken
	}
	i.receive++
	sealed = h.Flags&krb5.Sealed != 0
	body := bytes.Clone(token[krb5.MessageHeaderLen:])
	if n := len(body); n > 0 {
		// RFC 4121 4.2.5: rotated to the right by RRC.
		r := int(h.RRC) % n
		body = append(body[r:n:n], body[:r]...)
	}
	if sealed {
		message, err = i.unseal(h, body)
	} else {
		message, err = i.checked(h, body)
	}
	return message, sealed, err
}

func (i *Initiator) unseal(h krb5.MessageHeader, body []byte) ([]byte, error) {
	plain, err := open(i.key, usageAcceptorSeal, krb5.EncryptedData{EType: i.key.EType, Cipher: body})
	if err != nil {
		return nil, err
	}
	h.RRC = 0
	end := len(plain) - krb5.MessageHeaderLen
	if end < int(h.EC) || !bytes.Equal(plain[end:], h.Append(nil)) {
		return nil, errToken
	}
	return plain[:end-int(h.EC)], nil
}

func (i *Initiator) checked(h krb5.MessageHeader, body []byte) ([]byte, error) {
	end := len(body) - int(h.EC)
	if end < 0 {
		return nil, errToken
	}
	h.EC, h.RRC = 0, 0
	sum, err := suites[i.key.EType].GetChecksumHash(i.key.Value, append(bytes.Clone(body[:end]), h.Append(nil)...), usageAcceptorSeal)
	if err != nil || subtle.ConstantTimeCompare(sum, body[end:]) != 1 {
		return nil, errToken
	}
	return body[:end], nil
}
