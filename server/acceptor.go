package server

import (
	"net/netip"

	"gabion/auth"
)

// Accepting makes an Authenticator of package auth's acceptor.
func Accepting(a *auth.Acceptor) Authenticator { return acceptor{a} }

type acceptor struct{ *auth.Acceptor }

func (a acceptor) Begin(from netip.AddrPort) Authentication { return exchange{a.Acceptor.Begin(from)} }

type exchange struct{ *auth.Exchange }

func (x exchange) Step(token []byte) ([]byte, *Identity, error) {
	answer, who, err := x.Exchange.Step(token)
	if err != nil || who == nil {
		return answer, nil, err
	}
	return answer, &Identity{
		Token: who.Token(), User: who.Name(), SessionKey: who.SessionKey,
		Expires: who.Expires, Guest: who.Guest, Anonymous: who.Anonymous, Delegated: who.Delegated,
	}, nil
}
