package rpc

import (
	"errors"

	"gabion/protocol/dcerpc"
)

// errBroken: the client spoke nonsense; the pipe is of no further use.
var errBroken = errors.New("malformed or unexpected DCE/RPC fragment")

// pipe is one open pipe: an association and the fragment that is still coming in.
// Its calls come one at a time (server.Pipe).
type pipe struct {
	a  association
	in []byte
}

// Write takes bytes of the client, runs the calls that become complete and
// passes the answers' fragments to reply.
func (p *pipe) Write(b []byte, reply func(message []byte)) error {
	p.in = append(p.in, b...)
	for len(p.in) >= dcerpc.HeaderLen {
		h, err := dcerpc.DecodeHeader(p.in)
		if err != nil {
			return errBroken
		}
		if len(p.in) < int(h.FragLength) {
			return nil
		}
		out, ok := p.a.feed(p.in[:h.FragLength])
		for _, m := range out {
			reply(m)
		}
		if !ok {
			return errBroken
		}
		p.in = p.in[h.FragLength:]
	}
	if len(p.in) == 0 {
		p.in = nil
	}
	return nil
}

// Close ends the association.
func (p *pipe) Close() { p.a = association{} }
