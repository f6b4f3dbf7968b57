package domain

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"time"

	"gabion/auth/kerberos"
	"gabion/protocol/krb5"
)

// Security layers of SASL's GSSAPI mechanism (RFC 4752 3.3).
const (
	layerSeal  = 4
	maxReceive = 0xffffff // what we take at a time
)

// bindClient is the client's side of a GSSAPI bind, as go-ldap wants it. It insists on
// the layer that seals: controllers refuse connections that are not protected.
type bindClient struct {
	i       *kerberos.Initiator
	started bool
	maxSend int
}

func (b *bindClient) InitSecContextWithOptions(target string, token []byte, _ []int) ([]byte, bool, error) {
	return b.InitSecContext(target, token)
}

func (b *bindClient) InitSecContext(_ string, token []byte) ([]byte, bool, error) {
	if !b.started {
		b.started = true
		out, err := b.i.Request(time.Now(), krb5.FlagMutual|krb5.FlagReplay|krb5.FlagSequence|krb5.FlagInteg|krb5.FlagConf)
		return out, true, err
	}
	return nil, false, b.i.Finish(token)
}

func (b *bindClient) NegotiateSaslAuth(token []byte, authzid string) ([]byte, error) {
	offer, _, err := b.i.Unwrap(token)
	if err != nil {
		return nil, err
	}
	if len(offer) != 4 || offer[0]&layerSeal == 0 {
		return nil, fmt.Errorf("the controller offers no sealing (%x)", offer)
	}
	b.maxSend = int(binary.BigEndian.Uint32(offer) & 0xffffff)
	choice := binary.BigEndian.AppendUint32(nil, layerSeal<<24|maxReceive)
	return b.i.Sign(append(choice, authzid...))
}

func (b *bindClient) DeleteSecContext() error { return nil }

// sealedConn is a connection that begins in the clear and is sealed from start on
// (RFC 4422 3.7). One goroutine reads and one writes, as go-ldap's do.
type sealedConn struct {
	net.Conn
	bind *bindClient
	on   atomic.Bool

	raw   []byte // received, not yet looked at; the reader's
	plain []byte // unsealed, not yet read; the reader's
}

func (c *sealedConn) start() { c.on.Store(true) }

// Read returns what has arrived. Nothing arrives between the end of the bind and
// start, because nothing was asked for, so looking at the mode after the bytes
// have come is right.
func (c *sealedConn) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		buf := make([]byte, 32<<10)
		n, err := c.Conn.Read(buf)
		if n == 0 {
			return 0, err
		}
		if !c.on.Load() {
			c.plain = buf[:n]
			break
		}
		c.raw = append(c.raw, buf[:n]...)
		if err := c.unseal(); err != nil {
			return 0, err
		}
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// unseal takes all complete buffers out of raw.
func (c *sealedConn) unseal() error {
	for len(c.raw) >= 4 {
		n := int64(binary.BigEndian.Uint32(c.raw))
		if n > maxReceive {
			return fmt.Errorf("sealed buffer of %d bytes", n)
		}
		if int64(len(c.raw)) < 4+n {
			return nil
		}
		message, sealed, err := c.bind.i.Unwrap(c.raw[4 : 4+n])
		if err != nil {
			return err
		}
		if !sealed {
			return errors.New("the controller stopped sealing")
		}
		c.plain = append(c.plain, message...)
		c.raw = c.raw[4+n:]
	}
	return nil
}

// sealOverhead is more than sealing adds to a message.
const sealOverhead = 256

func (c *sealedConn) Write(p []byte) (int, error) {
	if !c.on.Load() {
		return c.Conn.Write(p)
	}
	most := min(c.bind.maxSend, 64<<10) - sealOverhead
	if most <= 0 {
		return 0, io.ErrShortBuffer
	}
	for rest := p; len(rest) > 0; {
		n := min(most, len(rest))
		token, err := c.bind.i.Seal(rest[:n])
		if err != nil {
			return len(p) - len(rest), err
		}
		if _, err := c.Conn.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...)); err != nil {
			return len(p) - len(rest), err
		}
		rest = rest[n:]
	}
	return len(p), nil
}
