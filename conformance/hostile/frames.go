package hostile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"

	"gabion/conformance/client"
	"gabion/protocol/smb2"
)

// frameCases are about bytes that never become a message.
var frameCases = []Case{
	{"connect and leave", "3.3.7.1", func(t Target) error {
		return t.raw(func(*client.Conn) error { return nil })
	}},
	{"half a length prefix", "2.1", func(t Target) error {
		return t.raw(func(c *client.Conn) error { return c.SendBytes([]byte{0, 0}) })
	}},
	{"half a frame", "2.1", func(t Target) error {
		return t.raw(func(c *client.Conn) error { return c.SendBytes([]byte{0, 0, 1, 0, 0xFE, 'S', 'M', 'B'}) })
	}},
	{"not direct TCP", "2.1", sendsBytes([]byte{0x82, 0, 0, 4, 1, 2, 3, 4})},
	{"HTTP", "2.1", sendsBytes([]byte("GET / HTTP/1.1\r\nHost: gabion\r\n\r\n"))},
	{"TLS", "2.1", sendsBytes(append([]byte{0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3}, make([]byte, 500)...))},
	{"16 MiB announced before NEGOTIATE", "3.3.5.2", func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			_ = c.SendBytes([]byte{0, 0xFF, 0xFF, 0xFF})
			// A server that ended it already makes this fail, which is as good.
			_ = c.SendBytes(append([]byte{0xFE, 'S', 'M', 'B'}, make([]byte, 1<<20)...))
			return ends(c)
		})
	}},
	{"unknown protocol", "3.3.5.2", sendsFrame(bytes.Repeat([]byte{0xAB}, 100))},
	{"header cut off", "3.3.5.2", sendsFrame([]byte{0xFE, 'S', 'M', 'B', 64, 0, 0, 0, 0, 0})},
	{"protocol id alone", "3.3.5.2", sendsFrame([]byte{0xFE, 'S', 'M', 'B'})},
	{"header StructureSize", "3.3.5.2.6", spoiledNegotiate(func(b []byte) []byte { b[4] = 65; return b })},
	{"SMB1 session setup", "3.3.5.3", sendsFrame(smb1(func(b []byte) { b[4] = 0x73 }))},
	{"SMB1 negotiate without SMB2", "3.3.5.3.1", sendsFrame(smb2.AppendSMB1Negotiate(nil, "NT LM 0.12"))},
	{"SMB1 negotiate cut off", "3.3.5.3.1", sendsFrame(smb1(nil)[:36])},
	{"SMB1 ByteCount lies", "3.3.5.3.1", sendsFrame(smb1(func(b []byte) { b[33], b[34] = 0xFF, 0xFF }))},
	{"transform header without a session", "3.3.5.2.1.1", sendsFrame(append(smb2.PutTransformHeader(make([]byte, smb2.TransformHeaderSize), 64, 77), make([]byte, 64)...))},
	{"transform header cut off", "3.3.5.2.1.1", sendsFrame([]byte{0xFD, 'S', 'M', 'B', 1, 2, 3})},
	{"transform header alone", "3.3.5.2.1.1", sendsFrame(smb2.PutTransformHeader(make([]byte, smb2.TransformHeaderSize), 0, 77))},
	{"compressed message nobody agreed to", "3.3.5.2.1.2", sendsFrame((&smb2.CompressionHeader{OriginalSize: 1 << 31, Algorithm: smb2.CompressionLZ77}).AppendTo(nil))},
	{"compressed chain nobody agreed to", "3.3.5.2.1.3", sendsFrame((&smb2.CompressionHeader{OriginalSize: 1 << 31, Flags: smb2.CompressionChained}).AppendTo(nil))},
	{"reset in the middle of a frame", "", func(t Target) error {
		nc, err := net.Dial("tcp", t.Addr)
		if err != nil {
			return err
		}
		if _, err := nc.Write([]byte{0, 0, 0x10, 0, 0xFE, 'S'}); err != nil {
			return err
		}
		if tcp, ok := nc.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		return nc.Close()
	}},
	{"a frame one byte at a time", "2.1", func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			m := (&client.Negotiation{}).Request()
			b := m.AppendTo(smb2.AppendHeader(nil, &smb2.HeaderFields{}))
			frame := append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
			for i := range frame {
				if err := c.SendBytes(frame[i : i+1]); err != nil {
					return err
				}
			}
			r, err := c.Stray()
			if err != nil {
				return err
			}
			if r.Header.Command() != smb2.CommandNegotiate || r.Status() != 0 {
				return fmt.Errorf("got %s", r.Header)
			}
			return nil
		})
	}},
}

func smb1(change func([]byte)) []byte {
	b := smb2.AppendSMB1Negotiate(nil, smb2.SMB1Dialect202)
	if change != nil {
		change(b)
	}
	return b
}

// sendsBytes sends bytes and expects the end of the connection.
func sendsBytes(b []byte) func(Target) error {
	return func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			_ = c.SendBytes(b)
			return ends(c)
		})
	}
}

// sendsFrame sends a frame and expects the end of the connection.
func sendsFrame(b []byte) func(Target) error {
	return func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			_ = c.SendFrame(b)
			return ends(c)
		})
	}
}

// spoiledNegotiate sends a NEGOTIATE whose bytes were changed, and accepts an error
// response as well as the end.
func spoiledNegotiate(change func([]byte) []byte) func(Target) error {
	return func(t Target) error {
		return t.raw(func(c *client.Conn) error {
			r, err := c.Call(&client.Request{Body: (&client.Negotiation{}).Request(), Spoil: change})
			if r != nil && r.Status().IsError() {
				return nil
			}
			return endsOrGets(c, r, err)
		})
	}
}
