package main

import (
	"fmt"
	"io"
	"net"
	"syscall"
	"unsafe"
)

// frames cuts the TCP stream into NBT-framed messages.
type frames struct {
	nc   *net.TCPConn
	raw  syscall.RawConn
	buf  []byte
	r, w int
	max  int // largest frame accepted

	// discard: the data part of large plain READ responses is dropped in the
	// kernel (MSG_TRUNC) instead of copied out.
	discard bool
}

const (
	slack      = 16        // room past the frame, for the GCM tag
	smallChunk = 256 << 10 // read-ahead for small frames
	dropHead   = 4 + 80    // NBT length + READ response up to its data
)

func newFrames(nc *net.TCPConn, maxFrame int) (*frames, error) {
	raw, err := nc.SyscallConn()
	if err != nil {
		return nil, err
	}
	f := &frames{nc: nc, raw: raw}
	f.grow(maxFrame)
	return f, nil
}

func (f *frames) grow(maxFrame int) {
	if maxFrame <= f.max {
		return
	}
	f.max = maxFrame
	b := make([]byte, 4+maxFrame+smallChunk+slack)
	f.w = copy(b, f.buf[f.r:f.w])
	f.r = 0
	f.buf = b
}

// next returns the next frame without its length prefix, valid until the next
// call, with 16 bytes of capacity to spare. full is its length on the wire; it
// is more than len(frame) if data was discarded.
func (f *frames) next() (frame []byte, full int, err error) {
	for f.w-f.r < 4 {
		if err := f.fill(4); err != nil {
			return nil, 0, err
		}
	}
	h := f.buf[f.r:]
	if h[0] != 0 {
		return nil, 0, fmt.Errorf("bad NBT frame type %#x", h[0])
	}
	n := int(h[1])<<16 | int(h[2])<<8 | int(h[3])
	if n > f.max || n < 64 {
		return nil, 0, fmt.Errorf("frame of %d bytes (accepting 64 to %d)", n, f.max)
	}
	if f.discard && n > 16384 {
		for f.w-f.r < dropHead {
			if err := f.fill(dropHead); err != nil {
				return nil, 0, err
			}
		}
		h := f.buf[f.r+4:]
		if h[0] == 0xfe && le.Uint16(h[12:]) == cmdRead && le.Uint32(h[8:]) == 0 && le.Uint32(h[20:]) == 0 {
			have := min(f.w-f.r-4, n)
			if err := f.drop(n - have); err != nil {
				return nil, 0, err
			}
			frame = f.buf[f.r+4 : f.r+4+have]
			f.advance(4 + have)
			return frame, n, nil
		}
	}
	for f.w-f.r < 4+n {
		if err := f.fill(4 + n); err != nil {
			return nil, 0, err
		}
	}
	at := f.r + 4
	f.advance(4 + n)
	return f.buf[at : at+n], n, nil
}

func (f *frames) advance(n int) {
	f.r += n
	if f.r == f.w {
		f.r, f.w = 0, 0
	}
}

// fill reads once, so that the pending frame can become need bytes long. For
// a large frame it stops at the frame's end, so that nothing has to be moved.
func (f *frames) fill(need int) error {
	limit := len(f.buf) - slack
	if f.r+need > limit {
		f.w = copy(f.buf, f.buf[f.r:f.w])
		f.r = 0
	}
	end := limit
	switch {
	case need > 65536:
		end = f.r + need
	case f.discard:
		end = min(limit, f.w+4096)
		end = max(end, f.r+need)
	default:
		end = min(limit, f.w+smallChunk)
	}
	k, err := f.nc.Read(f.buf[f.w:end])
	f.w += k
	if k > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

func (f *frames) drop(n int) error {
	for n > 0 {
		var k uintptr
		var errno syscall.Errno
		err := f.raw.Read(func(fd uintptr) bool {
			k, _, errno = syscall.Syscall6(syscall.SYS_RECVFROM, fd,
				uintptr(unsafe.Pointer(&f.buf[0])), uintptr(n), syscall.MSG_TRUNC|syscall.MSG_DONTWAIT, 0, 0)
			return errno != syscall.EAGAIN
		})
		if err != nil {
			return err
		}
		if errno == syscall.EINTR {
			continue
		}
		if errno != 0 {
			return errno
		}
		if k == 0 {
			return io.EOF
		}
		n -= int(k)
	}
	return nil
}
