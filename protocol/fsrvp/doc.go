// Package fsrvp holds the stubs of the File Server Remote VSS Protocol (MS-FSRVP): how a
// backup host asks a file server for a snapshot of shares and for shares that show it.
//
//	SetContext ─▶ Start ─▶ Add… ─▶ Prepare ─▶ Commit ─▶ Expose ─▶ GetShareMapping… ─▶ RecoveryComplete
//	                                                     DeleteShareMapping or Abort ends a set
//
// Every method has a Request with a decoder for the server and an encoder for clients,
// and a Response the other way round. Package server/shadow is the state machine behind
// the server's side.
package fsrvp
