package server

import (
	"encoding/binary"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// frameReader takes frames off the wire: small ones together with one system
// call, the bodies of large ones straight into their own memory. While nothing comes it
// holds no buffer, if the transport is a socket: most connections are idle most of the time.
type frameReader struct {
	conn     *conn
	r        io.Reader
	raw      syscall.RawConn // nil when the transport is no socket
	buf      []byte          // nil while nothing is in it
	from, to int
	large    bool // the last frame was: the next one's payload had better not come into buf

	once func(fd uintptr) bool
	n    int
	err  error
}

const (
	unauthReadBuffer = 4 << 10
	readBuffer       = 64 << 10
)

// glance is how much is read of what follows a large frame: the headers of a request.
const glance = 256

var readBuffers = sync.Pool{New: func() any { return new([readBuffer]byte) }}

func (f *frameReader) init(c *conn) {
	f.conn, f.r = c, c.net
	sc, ok := c.net.(syscall.Conn)
	if !ok {
		f.take()
		return
	}
	f.raw, _ = sc.SyscallConn()
	f.once = func(fd uintptr) bool {
		if f.buf == nil {
			f.take()
		}
		for {
			if f.n, f.err = unix.Read(int(fd), f.room()); f.err != unix.EINTR {
				break
			}
		}
		if f.err != unix.EAGAIN {
			return true
		}
		if f.to == 0 {
			f.give()
		}
		return false
	}
}

// take gets a buffer, a small one for who is not known.
func (f *frameReader) take() {
	if f.conn.authenticated.Load() {
		f.buf = readBuffers.Get().(*[readBuffer]byte)[:]
	} else {
		f.buf = make([]byte, unauthReadBuffer)
	}
}

// give gives the buffer back.
func (f *frameReader) give() {
	if len(f.buf) == readBuffer {
		readBuffers.Put((*[readBuffer]byte)(f.buf))
	}
	f.buf = nil
}

// room is where the next bytes go.
func (f *frameReader) room() []byte {
	if f.large {
		return f.buf[f.to:glance]
	}
	return f.buf[f.to:]
}

// more waits for bytes behind those that there are, for which there is room.
func (f *frameReader) more() error {
	if f.raw == nil {
		n, err := f.r.Read(f.room())
		f.to += n
		if n > 0 {
			return nil
		}
		return err
	}
	if err := f.raw.Read(f.once); err != nil {
		return err
	}
	switch {
	case f.err != nil:
		return f.err
	case f.n == 0:
		return io.EOF
	}
	f.to += f.n
	return nil
}

// header returns a frame's four header bytes.
func (f *frameReader) header() (uint32, error) {
	for f.to-f.from < frameHeader {
		if f.from > 0 {
			f.to = copy(f.buf, f.buf[f.from:f.to])
			f.from = 0
		}
		if f.to == 0 && len(f.buf) == unauthReadBuffer && f.conn.authenticated.Load() {
			f.take()
		}
		if err := f.more(); err != nil {
			return 0, err
		}
	}
	h := binary.BigEndian.Uint32(f.buf[f.from:])
	f.from += frameHeader
	return h, nil
}

// peek returns what is there already of the message whose header was read.
func (f *frameReader) peek() []byte { return f.buf[f.from:f.to] }

// body fills p. If summed is not nil, the payload's sums are made on the way, while it is in
// the processor's cache.
func (f *frameReader) body(p []byte, summed *sums) error {
	n := copy(p, f.buf[f.from:f.to])
	f.from += n
	f.large = len(p) >= large
	if n == len(p) {
		return nil
	}
	if summed == nil {
		_, err := io.ReadFull(f.r, p[n:])
		return err
	}
	for n < len(p) {
		k, err := io.ReadAtLeast(f.r, p[n:min(n+summedPart, len(p))], 1)
		if n += k; err != nil {
			return err
		}
		summed.add(p[:n])
	}
	return nil
}

// ready reports whether a whole small frame has been read already.
func (f *frameReader) ready() bool {
	if f.to-f.from < frameHeader {
		return false
	}
	n := binary.BigEndian.Uint32(f.buf[f.from:]) & 0xFFFFFF
	return f.to-f.from-frameHeader >= int(n)
}
