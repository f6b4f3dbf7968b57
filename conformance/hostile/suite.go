package hostile

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"gabion/conformance/client"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// Target is the server under attack. The account must be able to write to the share.
type Target struct {
	Addr, Share, User, Password string
	// Timeout bounds every wait, two minutes if zero.
	Timeout time.Duration
}

// Case is one row.
type Case struct {
	Name string
	Ref  string // section of MS-SMB2 that says what has to happen, if one does
	Run  func(Target) error
}

// Cases returns every row.
func Cases() []Case {
	var all []Case
	for _, part := range [][]Case{frameCases, negotiateCases, setupCases, sequenceCases, bodyCases, extremeCases, sealedCases, floodCases} {
		all = append(all, part...)
	}
	return all
}

// Run runs every row as a subtest.
func Run(t *testing.T, target Target) {
	for _, c := range Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(target); err != nil {
				t.Errorf("[MS-SMB2] %s: %v", c.Ref, err)
			}
			if err := target.aliveSoon(); err != nil {
				t.Fatalf("another client's work afterwards: %v", err)
			}
		})
	}
}

// aliveSoon is Alive once the server has noticed that the attacker's connections
// are gone: until then it may have no room for another of this address.
func (t Target) aliveSoon() (err error) {
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err = t.Alive(); err == nil || time.Now().After(end) {
			return err
		}
	}
}

// Alive does a client's honest work.
func (t Target) Alive() error {
	return t.tree(func(_ *client.Conn, tree *client.Tree) error {
		m := client.OpenFile(fmt.Sprintf("hostile-alive-%d.bin", files.Add(1)))
		m.CreateOptions |= smb2.OptionDeleteOnClose
		f, err := tree.Create(m)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		data := bytes.Repeat([]byte("alive"), 1000)
		if _, err := f.WriteAt(data, 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		got := make([]byte, len(data))
		if _, err := f.ReadAt(got, 0); err != nil || !bytes.Equal(got, data) {
			return fmt.Errorf("read: %w", err)
		}
		return f.Close()
	})
}

func (t Target) dial() (*client.Conn, error) {
	return client.Dial(t.Addr, client.Options{Timeout: t.Timeout})
}

func (t Target) credentials() client.Credentials {
	return client.Credentials{User: t.User, Password: t.Password}
}

// raw runs f on a connection that has said nothing yet.
func (t Target) raw(f func(*client.Conn) error) error {
	c, err := t.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// negotiated runs f on a connection after NEGOTIATE.
func (t Target) negotiated(f func(*client.Conn) error) error {
	return t.raw(func(c *client.Conn) error {
		if err := c.Negotiate(client.Negotiation{}); err != nil {
			return fmt.Errorf("negotiate: %w", err)
		}
		return f(c)
	})
}

// session runs f in an authenticated session.
func (t Target) session(f func(*client.Conn, *client.Session) error) error {
	return t.negotiated(func(c *client.Conn) error {
		s, err := c.Login(t.credentials())
		if err != nil {
			return fmt.Errorf("login: %w", err)
		}
		return f(c, s)
	})
}

// tree runs f in a connected share.
func (t Target) tree(f func(*client.Conn, *client.Tree) error) error {
	return t.session(func(c *client.Conn, s *client.Session) error {
		tree, err := s.Connect(t.Share)
		if err != nil {
			return fmt.Errorf("tree connect: %w", err)
		}
		return f(c, tree)
	})
}

// files counts the files of cases: the one of a connection that was dropped may be
// about to vanish when the next case begins.
var files atomic.Uint64

// file runs f on an open file that vanishes with it.
func (t Target) file(f func(*client.Conn, *client.File) error) error {
	return t.tree(func(c *client.Conn, tree *client.Tree) error {
		m := client.OpenFile(fmt.Sprintf("hostile-%d.bin", files.Add(1)))
		m.CreateOptions |= smb2.OptionDeleteOnClose
		file, err := tree.Create(m)
		if err != nil {
			return fmt.Errorf("create: %w", err)
		}
		if _, err := file.WriteAt(make([]byte, 8192), 0); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		return f(c, file)
	})
}

// ends is what a server does with what cannot be a message.
func ends(c *client.Conn) error {
	if !c.Ended() {
		return fmt.Errorf("the server kept the connection")
	}
	return nil
}

// gets checks a response's status against those that are right.
func gets(r *client.Response, err error, want ...ntstatus.Status) error {
	if r == nil {
		return fmt.Errorf("no response: %w", err)
	}
	for _, w := range want {
		if r.Status() == w {
			return nil
		}
	}
	return fmt.Errorf("status %s, want %v", r.Status(), want)
}

// endsOrGets accepts the end of the connection too.
func endsOrGets(c *client.Conn, r *client.Response, err error, want ...ntstatus.Status) error {
	if r == nil {
		if c.Ended() {
			return nil
		}
		return fmt.Errorf("neither an answer nor the end: %w", err)
	}
	return gets(r, err, want...)
}
