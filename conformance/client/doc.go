// Package client is an SMB2 client for conformance tests: it does what a test says
// and nothing behind its back. No reconnects, no caching, no retries, no
// acknowledgement of breaks; every field of every message can be set, and every
// message that comes back can be looked at as bytes.
//
// # Layers
//
//	Conn     one transport connection: frames, message ids, credits, breaks
//	Session  an authenticated session on one Conn; Bind makes a second channel
//	Tree     a share
//	File     an open, with a helper for each command
//
// Each layer has a way down: Conn.Send takes any Request, whose header is managed
// (message id, credits, session, tree, signature) or, with Exact, sent as it is;
// Conn.SendFrame takes bytes.
//
//	c, err := client.Dial(addr, client.Options{})
//	err = c.Negotiate(client.Negotiation{})
//	s, err := c.Login(client.Credentials{User: "u", Password: "p"})
//	t, err := s.Connect("vms")
//	f, err := t.Create(client.OpenFile("a.vhdx"))
//	n, err := f.Read(buf, 0)
//
// # Errors
//
// A response whose status is not STATUS_SUCCESS makes the helpers return that
// ntstatus.Status as the error, together with whatever the response held, so
// STATUS_BUFFER_OVERFLOW comes with its data. Everything else that is an error, such
// as a bad signature or the end of the connection, is another Go error.
//
// # Waiting
//
// Send returns a Pending at once. Wait waits for the final response, Interim for the
// STATUS_PENDING that comes before it, Conn.Break for an oplock or lease break. All
// give up after Options.Timeout, which is a bound for broken servers, not a
// measurement.
//
// # Concurrency
//
// A Conn has one goroutine, its reader, which ends when the connection does. All
// methods may be called concurrently.
package client
