package server

import (
	"encoding/binary"
	"hash/crc32"

	"gabion/protocol/smb2"
)

// payloadAt is where the payload of a WRITE lies in its message: behind the header and the
// request's fixed part [MS-SMB2] 2.2.21. Clients could leave more room, and do not.
const payloadAt = smb2Header + 48

// sums are CRC32C of the 4 KiB blocks of a WRITE's payload, made as it comes in: the store needs them,
// and what has just come from the socket is still in the processor's cache, where the store would have to fetch it.
type sums struct {
	from int // where in the message the payload begins, 0 for no sums
	list []uint32
}

// summedPart is how much is read between two calls of add: it has to fit the processor's cache.
const summedPart = 256 << 10

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// add goes on, when so much of the message has come.
func (s *sums) add(message []byte) {
	for at := s.from + len(s.list)*pageSize; at+pageSize <= len(message); at += pageSize {
		s.list = append(s.list, crc32.Checksum(message[at:at+pageSize], castagnoli))
	}
}

// of returns the sums of a request's data, nil if there are none.
func (s *sums) of(data, message []byte) []uint32 {
	if s.from == 0 || len(data) == 0 || len(s.list) != len(data)/pageSize || len(message) < s.from+len(data) || &data[0] != &message[s.from] {
		return nil
	}
	return s.list
}

// lay says where in its memory a message should begin, so that the payload of a large WRITE is aligned
// as a device wants it, and whether to make sums of it. It goes by what is there of the message already; where
// that says too little, or something else than what the request says in the end, nothing is lost but speed.
func (c *conn) lay(size int) (at int, summed bool) {
	if size < large {
		return 0, false
	}
	head := c.in.peek()
	switch {
	case len(head) < payloadAt:
		return pageSize - payloadAt, false
	case smb2.Protocol(head) == smb2.ProtocolTransform:
		return pageSize - payloadAt - transform, false
	case smb2.Protocol(head) != smb2.ProtocolSMB2:
		return 0, false
	}
	h := smb2.Header(head[:smb2Header])
	le := binary.LittleEndian
	offset := le.Uint64(head[smb2Header+8:])
	summed = h.Command() == smb2.CommandWrite && h.NextCommand() == 0 &&
		le.Uint16(head[smb2Header+2:]) == payloadAt && offset%pageSize == 0
	return pageSize - payloadAt, summed
}
