package admin

import (
	"context"
	"errors"
	"net/http"

	"gabion/auth"
	arrays "gabion/odx/peer"
)

// PeerIdentity is what another array has to be told of this one.
type PeerIdentity struct {
	Fingerprint string `json:"fingerprint"`
	Listen      string `json:"listen"` // "" without --peer-listen
}

var peerOperations = []Operation{{
	Name: "peer identity", Method: "GET", Path: "/v1/peer-identity", Role: auth.RoleReadOnly,
	Summary: "Show the fingerprint by which other arrays know this one",
	Example: "gabion peer identity",
	Run: func(_ context.Context, s *System, _ *Call) (any, error) {
		return PeerIdentity{s.Peers.Fingerprint().String(), s.Peers.Address()}, nil
	},
}, {
	Name: "peer list", Method: "GET", Path: "/v1/peers", Role: auth.RoleReadOnly,
	Summary: "List the arrays that this one trusts",
	Example: "gabion peer list",
	Run: func(_ context.Context, s *System, _ *Call) (any, error) {
		return s.Peers.Book.List(), nil
	},
}, {
	Name: "peer add", Method: "POST", Path: "/v1/peers", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Trust another array: it may fetch what its clients hold tokens for, and with an address its tokens are honoured here",
	Example: "gabion peer add berlin 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 --address 10.1.0.5:4451",
	Params: []Param{
		{Name: "name", Positional: true, Required: true, Help: "what the array is called here"},
		{Name: "fingerprint", Positional: true, Required: true, Help: "as `gabion peer identity` prints it there"},
		{Name: "address", Help: "HOST:PORT of its --peer-listen; without it nothing is fetched from there"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		p, err := s.Peers.Book.Add(c.Str("name"), c.Str("fingerprint"), c.Str("address"))
		switch {
		case errors.Is(err, arrays.ErrPeerExists), errors.Is(err, arrays.ErrSelf):
			return nil, Errorf(http.StatusConflict, "%v", err)
		case err != nil:
			return nil, Errorf(http.StatusBadRequest, "%v", err)
		}
		return p, nil
	},
}, {
	Name: "peer remove", Method: "DELETE", Path: "/v1/peers/{name}", Role: auth.RoleSuperAdmin, Mutates: true,
	Summary: "Trust an array no more",
	Example: "gabion peer remove berlin",
	Params:  []Param{{Name: "name", Positional: true, Required: true, Help: "what the array is called here"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		err := s.Peers.Book.Remove(c.Str("name"))
		if errors.Is(err, arrays.ErrNoPeer) {
			return nil, Errorf(http.StatusNotFound, "there is no peer %q", c.Str("name"))
		}
		return nil, err
	},
}}
