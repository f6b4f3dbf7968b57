// Package rpc serves the named pipes of IPC$: a small DCE/RPC server
// (MS-RPCE 3.3) with the interfaces that Explorer, smbclient and the remote
// administration tools call.
//
//	Host.Open("srvsvc", caller) ─▶ pipe ─ Write ─▶ association ─ operation ─▶ Backend
//	                                    ◀─ reply ─
//
// A pipe is one association: it reassembles the fragments of a request, runs the
// operation and hands over the response's fragments, all on the writer's goroutine;
// it starts none of its own. A request may not grow past maxStub.
//
// New interfaces are rows of the table in interfaces.go.
package rpc
