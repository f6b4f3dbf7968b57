package rpc

import (
	"errors"
	"strings"
	"sync"

	"gabion/protocol/dcerpc"
)

var (
	// ErrNoPipe: there is no such pipe.
	ErrNoPipe = errors.New("no such pipe")
	// ErrBroken: the client spoke nonsense; the pipe is of no further use.
	ErrBroken = errors.New("pipe broken")
	// ErrEmpty: nothing is to be read and nothing will come unless the client writes.
	ErrEmpty = errors.New("pipe empty")
)

// Host opens pipes on one Backend.
type Host struct{ backend Backend }

// NewHost returns a host of the services in the interface table.
func NewHost(b Backend) *Host { return &Host{b} }

// Open opens the pipe of that name, with or without a leading `PIPE\`, ignoring
// case; ErrNoPipe if no interface lives there.
func (h *Host) Open(name string, caller Caller) (*Pipe, error) {
	name = strings.ToLower(strings.Trim(name, `\`))
	name = strings.TrimPrefix(name, `pipe\`)
	if !pipeExists(name) {
		return nil, ErrNoPipe
	}
	return &Pipe{a: association{
		pipe: name, backend: h.backend, caller: caller,
		contexts: map[uint16]*iface{}, maxXmit: maxFragment,
	}}, nil
}

// Pipe is one open pipe in message mode.
type Pipe struct {
	mu     sync.Mutex // guards everything below
	a      association
	in     []byte   // bytes of an incomplete fragment
	out    [][]byte // messages to be read
	broken bool
}

// Write takes bytes of the client; fragments may be split over writes. It runs
// the calls that become complete.
func (p *Pipe) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken {
		return 0, ErrBroken
	}
	p.in = append(p.in, b...)
	for len(p.in) >= dcerpc.HeaderLen {
		h, err := dcerpc.DecodeHeader(p.in)
		if err != nil {
			return 0, p.fail()
		}
		if len(p.in) < int(h.FragLength) {
			break
		}
		out, ok := p.a.feed(p.in[:h.FragLength])
		p.out = append(p.out, out...)
		if !ok {
			p.broken = true
			if len(out) == 0 {
				return 0, ErrBroken
			}
			break
		}
		p.in = p.in[h.FragLength:]
	}
	if len(p.in) == 0 {
		p.in = nil
	}
	return len(b), nil
}

func (p *Pipe) fail() error {
	p.broken = true
	return ErrBroken
}

// Read takes from the first message up to len(b) bytes; more reports that the
// message has further bytes (STATUS_BUFFER_OVERFLOW). ErrEmpty if there is none.
func (p *Pipe) Read(b []byte) (n int, more bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.out) == 0 {
		if p.broken {
			return 0, false, ErrBroken
		}
		return 0, false, ErrEmpty
	}
	n = copy(b, p.out[0])
	if n < len(p.out[0]) {
		p.out[0] = p.out[0][n:]
		return n, true, nil
	}
	p.out = p.out[1:]
	return n, false, nil
}

// Waiting is what FSCTL_PIPE_PEEK tells: the bytes of the first message and of
// all, and how many messages there are.
func (p *Pipe) Waiting() (first, all, messages int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, m := range p.out {
		if i == 0 {
			first = len(m)
		}
		all += len(m)
	}
	return first, all, len(p.out)
}

// Name of the pipe, without a prefix.
func (p *Pipe) Name() string { return p.a.pipe }
