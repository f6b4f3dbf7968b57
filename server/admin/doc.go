// Package admin is the array's HTTP/JSON API and everything derived from it.
//
// One table of operations (Operations) names each thing an administrator can do:
// its words on the command line, its HTTP method and path, its parameters, the
// role it needs, whether it changes anything, and the handler. Routing,
// authorisation, audit, the OpenAPI description and the command line's verbs
// with their help all derive from the row; a new feature adds rows, nothing else.
//
//	unix socket DATA/admin.sock ─┐
//	                             ├─ Handler ─ authorise ─ audit ─ Operation.Run(System)
//	TLS listener (--admin) ──────┘
//
// A row's role is one of package auth's and must be held on the array. A row that is about
// one share, folder or virtual machine names the parameter that says which (Delegated): then
// the role on that is enough, and a vm-operator of it may call the operation as well.
//
// A scoped row (Scoped) is open to whoever holds a role anywhere; its handler shows and does what
// System.may allows. A stream is the answer of a row that Sends, the body of one that Takes.
//
// The TLS listener authenticates every request at its Gate: by an API token, or by a Kerberos ticket,
// which by itself only reads and is exchanged for a token at POST /v1/session.
//
// The socket is protected by its mode (0600) and by the kernel's word on who is
// at the other end (SO_PEERCRED): the server's own user and root act as
// super-admin, nobody else gets an answer.
package admin
