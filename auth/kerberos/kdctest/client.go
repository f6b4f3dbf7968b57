package kdctest

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/jcmturner/gokrb5/v8/crypto"

	"gabion/protocol/krb5"
)

// Client shows a ticket to a service.
type Client struct {
	Ticket Ticket
	Flags  uint32 // krb5.Flag…
	// Subkey sends a subkey of the client's.
	Subkey bool
	// Change alters the authenticator before it is encrypted.
	Change func(*krb5.Authenticator)
	// Options are AP-REQ's.
	Options uint32
	// NoChecksum leaves the authenticator without one.
	NoChecksum bool

	auth     krb5.Authenticator
	Key      krb5.Key // the context's, after Finish
	acceptor bool     // Key is the acceptor's subkey
	peer     uint32   // the acceptor's sequence number
}

const firstSequence = 0x12345678

// Request is the AP-REQ in its frame, or bare for DCE style.
func (c *Client) Request(now time.Time) []byte {
	seq := uint32(firstSequence)
	c.auth = krb5.Authenticator{Realm: c.Ticket.Realm, Client: c.Ticket.Client, Time: now.Truncate(time.Second).UTC(),
		Microsec: int32(now.Nanosecond() / 1000), Sequence: &seq}
	if !c.NoChecksum {
		ask := krb5.ContextRequest{Flags: c.Flags}
		c.auth.Checksum = &krb5.Checksum{Type: krb5.ChecksumGSS, Value: ask.Encode()}
	}
	c.Key = c.Ticket.Session
	if c.Subkey {
		k := RandomKey(c.Ticket.Session.EType)
		c.auth.Subkey, c.Key = &k, k
	}
	if c.Change != nil {
		c.Change(&c.auth)
	}
	req := krb5.APReq{Options: c.Options, Ticket: c.Ticket.Ticket, Authenticator: Seal(c.Ticket.Session, 11, c.auth.Encode())}
	if c.Flags&krb5.FlagDCE != 0 {
		return req.Encode()
	}
	return krb5.EncodeToken(krb5.TokenAPReq, req.Encode())
}

// Finish checks the AP-REP and takes the acceptor's subkey over. For DCE style
// it returns the third leg.
func (c *Client) Finish(answer []byte) ([]byte, error) {
	dce := c.Flags&krb5.FlagDCE != 0
	if !dce {
		id, body, err := krb5.DecodeToken(answer)
		if err != nil || id != krb5.TokenAPRep {
			return nil, fmt.Errorf("no AP-REP: %v %v", id, err)
		}
		answer = body
	}
	rep, err := krb5.DecodeAPRep(answer)
	if err != nil {
		return nil, err
	}
	plain, err := Open(c.Ticket.Session, 12, rep.Enc)
	if err != nil {
		return nil, err
	}
	part, err := krb5.DecodeEncAPRepPart(plain)
	if err != nil {
		return nil, err
	}
	if !part.Time.Equal(c.auth.Time) || part.Microsec != c.auth.Microsec {
		return nil, errors.New("the AP-REP answers another authenticator")
	}
	if part.Subkey != nil {
		c.Key, c.acceptor = *part.Subkey, true
	}
	if part.Sequence != nil {
		c.peer = *part.Sequence
	}
	if !dce {
		return nil, nil
	}
	third := krb5.EncAPRepPart{Time: part.Time, Microsec: part.Microsec, Sequence: part.Sequence}
	return (&krb5.APRep{Enc: Seal(c.Ticket.Session, 12, third.Encode())}).Encode(), nil
}

// Sign is a MIC token of AES keys over a message (RFC 4121 4.2.6.1).
func (c *Client) Sign(message []byte) []byte {
	h := krb5.MessageHeader{Sequence: firstSequence}
	if c.acceptor {
		h.Flags = krb5.AcceptorSubkey
	}
	token := h.Append(nil)
	return append(token, c.sum(25, message, token)...)
}

// Verify checks the acceptor's MIC token of its first message.
func (c *Client) Verify(message, token []byte) error {
	h, err := krb5.DecodeMessageHeader(token)
	if err != nil {
		return err
	}
	if h.Flags&krb5.SentByAcceptor == 0 || (h.Flags&krb5.AcceptorSubkey != 0) != c.acceptor || h.Sequence != uint64(c.peer) {
		return fmt.Errorf("header %+v, sequence number %d", h, c.peer)
	}
	if !bytes.Equal(c.sum(23, message, token[:krb5.MessageHeaderLen]), token[krb5.MessageHeaderLen:]) {
		return errors.New("wrong checksum")
	}
	return nil
}

func (c *Client) sum(usage uint32, message, header []byte) []byte {
	e, err := crypto.GetEtype(c.Key.EType)
	if err != nil {
		panic(err)
	}
	sum, err := e.GetChecksumHash(c.Key.Value, append(bytes.Clone(message), header...), usage)
	if err != nil {
		panic(err)
	}
	return sum
}
