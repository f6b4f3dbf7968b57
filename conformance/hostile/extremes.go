package hostile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// extremeCases take every field there is to its ends.
var extremeCases = []Case{
	{"every field of every request at its extremes", "3.3.5.2.6", func(t Target) error {
		return everyField(func(do func(*client.Conn, []smb2.Message, *client.Request) error) error {
			return t.file(func(c *client.Conn, f *client.File) error {
				return do(c, sessionBodies(f), &client.Request{Tree: f.Tree})
			})
		})
	}},
	{"every field of every request before authentication", "3.3.5.2.9", func(t Target) error {
		return everyField(func(do func(*client.Conn, []smb2.Message, *client.Request) error) error {
			return t.negotiated(func(c *client.Conn) error { return do(c, sessionBodies(&client.File{}), &client.Request{}) })
		})
	}},
	{"every field of every request before negotiation", "3.3.5.2.2", func(t Target) error {
		return everyField(func(do func(*client.Conn, []smb2.Message, *client.Request) error) error {
			return t.raw(func(c *client.Conn) error { return do(c, sessionBodies(&client.File{})[:3], &client.Request{}) })
		})
	}},
	{"every field of the header at its extremes", "3.3.5.2", everyHeaderField},
	{"patterns that match in a million ways", "3.3.5.18", func(t Target) error {
		return t.tree(func(c *client.Conn, tree *client.Tree) error {
			m := client.OpenFile(strings.Repeat("a", 250))
			m.CreateOptions |= smb2.OptionDeleteOnClose
			f, err := tree.Create(m)
			if err != nil {
				return err
			}
			defer f.Close()
			for _, pattern := range []string{strings.Repeat("*a", 16000) + "b", strings.Repeat("*", 32000), strings.Repeat("<a", 16000) + "b",
				strings.Repeat("*?", 120) + "b", strings.Repeat(`>`, 32000), strings.Repeat(`*"`, 16000)} {
				dir, err := tree.Create(client.OpenDirectory(""))
				if err != nil {
					return err
				}
				_, err = dir.QueryDirectory(37, smb2.QueryDirectoryRestartScans, pattern, 65536)
				if status, answered := client.Status(err); !answered {
					return fmt.Errorf("pattern %.10s…: %w", pattern, err)
				} else if status == ntstatus.InternalError {
					return status
				}
				_ = dir.Close()
			}
			return nil
		})
	}},
}

// sessionBodies are well-formed requests of every kind that is answered.
func sessionBodies(f *client.File) []smb2.Message {
	return append([]smb2.Message{
		&smb2.SessionSetupRequest{SecurityMode: 1, SecurityBuffer: []byte{0x60, 0}},
		&smb2.Empty{Of: smb2.CommandLogoff},
		&smb2.Empty{Of: smb2.CommandTreeDisconnect},
		&smb2.CloseRequest{FileID: smb2.FileID{Persistent: 7, Volatile: 7}},
	}, fileBodies(f)...)
}

// extremes are the values that a field of n bytes is given.
func extremes(n int) []uint64 {
	top := uint64(1) << (8*n - 1)
	return []uint64{0, 1, top - 1, top, top - 1 + top}
}

// spoil makes what takes a field of n bytes of a message to a value.
func spoil(at, n int, v uint64) func([]byte) []byte {
	return func(b []byte) []byte {
		if at+n > len(b) {
			return b
		}
		var le [8]byte
		binary.LittleEndian.PutUint64(le[:], v)
		copy(b[at:at+n], le[:])
		return b
	}
}

// variants calls do with every extreme of every field of each body, as wide as
// alignment lets fields be, from the one with number first on, until do says stop.
func variants(bodies []smb2.Message, first int, do func(m smb2.Message, what string, change func([]byte) []byte) (more bool)) (all bool) {
	i := 0
	for _, m := range bodies {
		fixed := len(m.AppendTo(nil))
		for _, n := range []int{2, 4, 8} {
			for at := 0; at+n <= min(fixed, 64); at += n {
				for _, v := range extremes(n) {
					if i++; i <= first {
						continue
					}
					if !do(m, fmt.Sprintf("%s with %#x in %d bytes at %d", m.Command(), v, n, at), spoil(bodyAt+at, n, v)) {
						return false
					}
				}
			}
		}
	}
	return true
}

// everyField sends all variants over as many connections as it takes: begin makes one. Each
// request is answered, or ends the connection.
func everyField(begin func(do func(c *client.Conn, bodies []smb2.Message, r *client.Request) error) error) error {
	for sent, all := 0, false; !all; {
		err := begin(func(c *client.Conn, bodies []smb2.Message, like *client.Request) (err error) {
			all = variants(bodies, sent, func(m smb2.Message, what string, change func([]byte) []byte) bool {
				sent++
				r := *like
				r.Body, r.Spoil = m, change
				if err = answered(c, &r); err != nil && !c.Ended() {
					err = fmt.Errorf("%s: %w", what, err)
					return false
				}
				ended := err != nil
				err = nil
				// What ends a session or a tree makes the rest of no interest.
				over := m.Command() == smb2.CommandLogoff || m.Command() == smb2.CommandTreeDisconnect || m.Command() == smb2.CommandSessionSetup
				return !ended && (!over || like.Tree == nil)
			})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// answered sends a request and waits for its answer; one that the server holds is cancelled.
func answered(c *client.Conn, r *client.Request) error {
	p, err := c.Start(r)
	if err != nil {
		return err
	}
	interim, final, err := p.Interim()
	if errors.Is(err, client.ErrSignature) && r.Body.Command() == smb2.CommandSessionSetup {
		return nil // refused before anybody knows with whose key to sign
	}
	if err != nil || final {
		return err
	}
	if err := p.Cancel(interim.Header.AsyncID()); err != nil {
		return err
	}
	_, err = p.Wait()
	return err
}

// everyHeaderField sends an ECHO with every field of its header at its extremes, rightly
// signed: the next, honest one is answered, or the connection has ended.
func everyHeaderField(t Target) error {
	for _, n := range []int{2, 4, 8} {
		for at := 4; at+n <= 48; at += n {
			for _, v := range extremes(n) {
				err := t.session(func(c *client.Conn, s *client.Session) error {
					_, err := c.Start(&client.Request{Session: s, Body: &smb2.Empty{Of: smb2.CommandEcho}, Spoil: spoil(at, n, v)})
					if err == nil {
						err = c.Echo()
					}
					if err != nil && errors.Is(err, client.ErrTimeout) && !c.Ended() {
						return err
					}
					return nil
				})
				if err != nil {
					return fmt.Errorf("%#x in %d bytes at %d: %w", v, n, at, err)
				}
			}
		}
	}
	return nil
}
