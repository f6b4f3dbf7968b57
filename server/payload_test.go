package server

import (
	"bytes"
	"hash/crc32"
	"math/rand/v2"
	"testing"
	"testing/iotest"

	"gabion/protocol/smb2"
)

// writeMessage is a WRITE with its data offset and its place in the file.
func writeMessage(command smb2.Command, dataOffset uint16, offset uint64, data []byte) []byte {
	m := make([]byte, payloadAt, payloadAt+len(data))
	copy(m, "\xfeSMB")
	m[4], m[12] = 64, byte(command)
	m[smb2Header], m[smb2Header+2], m[smb2Header+3] = 49, byte(dataOffset), byte(dataOffset>>8)
	for i := range 8 {
		m[smb2Header+8+i] = byte(offset >> (8 * i))
	}
	return append(m, data...)
}

// The sums of a payload are those of its whole blocks, however it comes in, and are there for
// nothing else than what they were made of.
func TestPayloadSums(t *testing.T) {
	data := make([]byte, 300<<10+100)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	for _, c := range []struct {
		name    string
		message []byte
		known   int // bytes that are there when the place is chosen
		sums    bool
	}{
		{"aligned", writeMessage(smb2.CommandWrite, payloadAt, 8192, data), glance, true},
		{"only what is needed is there", writeMessage(smb2.CommandWrite, payloadAt, 0, data), payloadAt, true},
		{"too little is there", writeMessage(smb2.CommandWrite, payloadAt, 0, data), payloadAt - 1, false},
		{"odd place in the file", writeMessage(smb2.CommandWrite, payloadAt, 100, data), glance, false},
		{"odd place in the message", writeMessage(smb2.CommandWrite, payloadAt+8, 0, data), glance, false},
		{"another command", writeMessage(smb2.CommandIoctl, payloadAt, 0, data), glance, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := &conn{}
			conn.in.buf = make([]byte, readBuffer)
			conn.in.to = copy(conn.in.buf, c.message[:c.known])
			conn.in.r = iotest.HalfReader(bytes.NewReader(c.message[c.known:]))
			at, summed := conn.lay(len(c.message))
			if summed != c.sums || at+payloadAt != pageSize {
				t.Fatalf("at %d, summed: %v", at, summed)
			}
			buf := newBuffer(at + len(c.message))
			got := buf.mem[at : at+len(c.message)]
			var s *sums
			if summed {
				s = &buf.sums
				s.from = payloadAt
			}
			if err := conn.in.body(got, s); err != nil || !bytes.Equal(got, c.message) {
				t.Fatalf("came in changed: %v", err)
			}
			list := buf.sums.of(got[payloadAt:], got)
			if (list != nil) != c.sums {
				t.Fatalf("sums: %v", list)
			}
			for i, sum := range list {
				if sum != crc32.Checksum(data[i*pageSize:][:pageSize], castagnoli) {
					t.Fatalf("the sum of block %d is wrong", i)
				}
			}
			for _, other := range [][]byte{nil, got[payloadAt+1:], got[payloadAt : len(got)-pageSize], bytes.Clone(got[payloadAt:])} {
				if buf.sums.of(other, got) != nil {
					t.Errorf("sums for %d bytes that they are not of", len(other))
				}
			}
			buf.release()
			if buf.sums.from != 0 || len(buf.sums.list) != 0 {
				t.Error("the sums stay with the memory")
			}
		})
	}
}
