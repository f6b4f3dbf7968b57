package domain

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"time"
)

// maxAnswer bounds what a controller may send.
const maxAnswer = 1 << 20

// exchange sends a message with its length in front, as Kerberos does over TCP, and
// returns the answer (RFC 4120 7.2.2).
func exchange(c net.Conn, message []byte) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(2 * dialTimeout)); err != nil {
		return nil, err
	}
	if _, err := c.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(message))), message...)); err != nil {
		return nil, err
	}
	return readFrame(c)
}

// readFrame reads a message with its length in front.
func readFrame(r io.Reader) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxAnswer {
		return nil, fmt.Errorf("message of %d bytes", n)
	}
	b := make([]byte, n)
	_, err := io.ReadFull(r, b)
	return b, err
}
