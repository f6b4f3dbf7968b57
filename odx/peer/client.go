package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"gabion/odx"
	"gabion/protocol/relay"
)

const (
	// slice is what is asked for at once, to begin with: between two of them a transfer can end
	// without giving its connection up. Each costs a round trip, so they grow while they are quick.
	slice     = 32 << 20
	maxSlice  = 256 << 20
	quickTime = 250 * time.Millisecond
	// sliceTime is the time after which no further slice is begun.
	sliceTime = 4 * time.Second
	dialTime  = 5 * time.Second
	maxIdle   = 4
	maxTries  = 4
)

// client fetches from one array.
type client struct {
	link    *Link
	peer    Fingerprint
	address string

	mu     sync.Mutex
	idle   []*conn // guarded by mu
	closed bool    // guarded by mu
}

func (p *client) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.idle {
		c.raw.Close()
	}
	p.idle = nil
}

// take returns a connection that waits, or a new one.
func (p *client) take(ctx context.Context) (c *conn, used bool, err error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c, p.idle = p.idle[n-1], p.idle[:n-1]
		p.mu.Unlock()
		return c, true, nil
	}
	closed := p.closed
	p.mu.Unlock()
	switch {
	case closed:
		return nil, false, errors.New("the peer was removed")
	case p.address == "":
		return nil, false, errors.New("the peer was added without an address")
	}
	d := net.Dialer{Timeout: dialTime}
	socket, err := d.DialContext(ctx, "tcp", p.address)
	if err != nil {
		return nil, false, err
	}
	c, err = handshake(ctx, socket, tls.Client, p.link.id.config(func(f Fingerprint) bool { return f == p.peer }))
	return c, false, err
}

// give keeps a connection whose request came to its end.
func (p *client) give(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) >= maxIdle {
		c.raw.Close()
		return
	}
	p.idle = append(p.idle, c)
}

// Fetch implements odx.Fetcher. A connection that breaks is replaced, and the transfer goes on
// from where it was.
func (p *client) Fetch(ctx context.Context, token []byte, off, n int64, into func([]byte, int64) error) (done int64, err error) {
	began := time.Now()
	defer func() {
		m := p.link.metrics
		m.received.Add(float64(done))
		if err != nil {
			m.failed.Inc()
			p.link.log.Warn("transfer from an array broke off", "address", p.address, "bytes", done, "of", n, "error", err)
		}
	}()
	size := int64(slice)
	for tries := 0; done < n; {
		if done > 0 && time.Since(began) > sliceTime {
			return done, nil
		}
		c, used, err := p.take(ctx)
		if err == nil {
			q := relay.Request{Offset: uint64(off + done), Length: uint64(min(n-done, size))}
			copy(q.Token[:], token)
			f := &fetch{client: p, c: c, into: into}
			asked := time.Now()
			err = f.run(ctx, &q)
			done += f.done
			if err == nil {
				p.give(c)
				tries = 0
				if time.Since(asked) < quickTime {
					size = min(2*size, maxSlice)
				}
				continue
			}
			c.raw.Close()
			if f.fatal {
				return done, err
			}
			if f.done > 0 {
				tries = 0
			}
		}
		if ctx.Err() == context.Canceled {
			return done, ctx.Err()
		}
		if used {
			continue // the other end had given it up, maybe
		}
		if tries++; tries >= maxTries || !pause(ctx, time.Duration(tries)*100*time.Millisecond) {
			return done, fmt.Errorf("%w: %w", odx.ErrUnreachable, err)
		}
	}
	return done, nil
}

// pause waits, unless ctx ends.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// fetch is one request on one connection.
type fetch struct {
	client *client
	c      *conn
	into   func([]byte, int64) error
	done   int64
	fatal  bool // trying again is of no use
}

func (f *fetch) run(ctx context.Context, q *relay.Request) error {
	stop := context.AfterFunc(ctx, func() { f.c.raw.Close() })
	defer stop()
	if _, err := f.c.Write(q.Append(make([]byte, 0, relay.RequestSize))); err != nil {
		return err
	}
	if err := f.c.flush(); err != nil {
		return err
	}
	buf := f.client.link.buffers.Get().(*[relay.MaxData]byte)
	defer f.client.link.buffers.Put(buf)
	var b [relay.RecordSize]byte
	for {
		_ = f.c.SetDeadline(time.Now().Add(stallTime))
		if _, err := io.ReadFull(f.c.r, b[:]); err != nil {
			return err
		}
		var r relay.Record
		if err := r.Decode(b[:]); err != nil {
			return err
		}
		left := int64(q.Length) - f.done
		switch r.Kind {
		case relay.Data:
			if int64(r.Count) > left {
				return errors.New("more than was asked for")
			}
			n, broken := io.ReadFull(f.c.r, buf[:r.Count])
			if broken != nil {
				n &^= relay.HoleUnit - 1 // what arrived need not come again
			}
			if n > 0 {
				if err := f.pass(buf[:n], int64(n)); err != nil {
					return err
				}
			}
			if broken != nil {
				return broken
			}
		case relay.Hole:
			n := int64(r.Count) * relay.HoleUnit
			if n > left {
				return errors.New("more than was asked for")
			}
			if err := f.pass(nil, n); err != nil {
				return err
			}
		case relay.End:
			if left != 0 {
				return errors.New("less than was asked for")
			}
			return nil
		case relay.Failed:
			return f.refused(r.Count)
		}
	}
}

// pass hands on what arrived. An error of the taker ends the transfer.
func (f *fetch) pass(data []byte, n int64) error {
	if err := f.into(data, n); err != nil {
		f.fatal = true
		return err
	}
	f.done += n
	return nil
}

func (f *fetch) refused(code uint32) error {
	switch code {
	case relay.FailedToken, relay.FailedRange:
		f.fatal = true
		return odx.ErrInvalid
	case relay.FailedRead:
		f.fatal = true
		return fmt.Errorf("%w: it cannot read the data", odx.ErrUnreachable)
	}
	return fmt.Errorf("refused with code %d", code)
}
