// Package server speaks MS-SMB2 section 3.3: it turns the bytes of a connection
// into requests, finds the session, tree and open they mean, and sends what the
// command's handler answers.
//
// # Nouns
//
//	Server       everything; owns the tables and the listeners
//	conn         one TCP connection: negotiated dialect, message-id window, credits
//	session      an authenticated user; one or several conns (channels) carry it
//	tree         a session's connection to a share
//	open         a session's handle to a file, a directory or a pipe
//	request      one SMB2 message of a client from its arrival to its reply
//	chain        the requests of one compound, answered by one message
//	buffer       a pooled piece of memory with exactly one owner at a time
//
// # A connection's life
//
//	         SMB1 "SMB 2.???"         NEGOTIATE              SESSION_SETUP
//	accepted ───────────────▶ asked ───────────▶ negotiated ─────────────▶ in use
//	    │                       │                    │                        │
//	    └── deadline, limit, malformed input, transport error, drain ─────────┴──▶ closed
//
// A session goes InProgress → Valid ⇄ Expired and ends by LOGOFF, by the loss of its
// last channel, by a new session naming it as its previous one, or by an
// administrator. What then becomes of its opens is decided by their backend
// (LocalOpen.Disconnect): kept for a reconnect or closed.
//
// # Who runs what
//
// Each conn has one reader goroutine. It takes a frame off the wire, decrypts it,
// splits a compound, checks message id, signature, session, tree, open and channel
// sequence, and runs the handlers of rows marked inline. Other rows run on
// the server's worker pool. A handler may return before it has answered: it then has
// handed the request to somebody who calls finish later, from any goroutine. A
// request that waits for an unbounded time says so with pend, which sends the
// interim response and makes it cancellable.
//
//	reader ──inline──▶ handler ──▶ finish ──▶ outgoing queue ──▶ writev
//	   └─────pool────▶ handler ──▶ pend … finish ──┘
//
// Replies are built in a buffer that has room for the transport and transform
// headers in front, so that signing and sealing work in place, and READ places file
// data where the wire takes it from. A large READ that the store has in memory is sent, signed and sealed from there, in pieces:
// each is a buffer of the queue that gives back what was lent when it has been written, or dropped
// (chain_parts.go). The reader writes replies of its own batch itself as
// long as the socket takes them without blocking; everything else goes through the
// conn's writer goroutine, one writev for all that is queued.
//
// # Memory
//
// A credit stands for 64 KiB of payload, of the request or of its reply. The sum of
// credits that clients hold and that unfinished requests have consumed never exceeds
// the server's budget (Limits.Payload), so a body on the wire always has room. What
// is not authenticated gets one credit at a time, small frames and little time.
//
// # Limits
//
// What a client can make the server hold is bounded (Limits; the defaults):
//
//	connections              16,384 in all, 2,048 of one address
//	before authentication    4,096 connections in all, 128 of one address, 8 unfinished
//	                         sessions on each, 32 credits, frames up to 68 KiB, 45 s from
//	                         accept to a valid session
//	after it                 2,048 sessions on a connection, 4,096 tree connects and 65,536
//	                         opens of a session, 8,192 byte-range locks of an open and 65,536
//	                         of a session (one more: STATUS_INSUFFICIENT_RESOURCES), 512 waiting
//	                         requests and 8,192 credits of a connection, transfers up to 8 MiB
//	for absent clients       131,072 durable opens in all; beyond it they end with their
//	                         connections, and no new open is persistent
//	changes for watchers     64 MiB in all that was not asked for yet; beyond it the answer is
//	                         STATUS_NOTIFY_ENUM_DIR
//	time                     60 s for a frame to arrive and for a reply to be taken, 15 min
//	                         without session or request, 35 s to acknowledge a break
//	payload in flight        a quarter of the machine's memory
//
// A limit that is reached ends or refuses what is new, never what is there.
//
// # Lock order
//
//	Server.mu (listeners, connections, shares, clients)
//	sessionTable.mu
//	└─ session.mu (state, channels, trees, opens)
//	   └─ openTable shard
//	      └─ open.mu (channel sequence, in-flight count)
//	request.mu (finish against pend)
//	└─ conn.mu (window, requests, bindings), conn.out.mu (queue), pool.mu: leaves
//
// No lock is held while a handler, a backend, the store or the network is called, except that
// Server.recordMu, which is above those of the object store, orders the writing of what is
// recorded of persistent opens.
package server
