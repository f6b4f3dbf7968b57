package kdctest

import (
	"encoding/asn1"
	"time"

	"gabion/protocol/krb5"
	"gabion/protocol/spnego"
)

// Negotiation shows a ticket in SPNEGO, as an SMB client does.
type Negotiation struct {
	Client Client
	// Late asks for the mechanism first and shows the ticket in the second leg.
	Late  bool
	asked bool
}

// Negotiate asks for mutual authentication and a key of its own.
func Negotiate(t Ticket) *Negotiation {
	return &Negotiation{Client: Client{Ticket: t, Flags: krb5.FlagMutual, Subkey: true}}
}

// Step is the next token for the service.
func (n *Negotiation) Step([]byte) ([]byte, error) {
	init := spnego.Init{Mechs: []asn1.ObjectIdentifier{spnego.MSKerberos, spnego.Kerberos}}
	switch {
	case n.Late && !n.asked:
		n.asked = true
	case n.Late:
		resp := spnego.Resp{State: spnego.AcceptIncomplete, Token: n.Client.Request(time.Now())}
		return resp.Append(nil), nil
	default:
		init.Token = n.Client.Request(time.Now())
	}
	return init.Append(nil), nil
}

// Finish takes the key out of the last answer's AP-REP.
func (n *Negotiation) Finish(token []byte) error {
	resp, err := spnego.DecodeResp(token)
	if err == nil {
		_, err = n.Client.Finish(resp.Token)
	}
	return err
}

// Key is the session's, after Finish.
func (n *Negotiation) Key() []byte { return n.Client.Key.Value }
