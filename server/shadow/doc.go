// Package shadow is the File Server Remote VSS Agent (MS-FSRVP 3.1): backup hosts ask
// it for one instant of several shares, and read it through shares of their own.
//
//	server/rpc ─ Call ─▶ Agent ─ state machine, timer ─▶ Array ─ snapshot, exposed shares
//	                       └── every state it has answered for is in the volume's side store
//
// A set goes through
//
//	Started ─Add▶ Added ─Commit▶ Committed ─Expose▶ Exposed ─RecoveryComplete▶ Recovered
//
// and one set at most is short of Recovered. The message sequence timer removes a set whose
// client has gone away. After a restart of the server the client goes on where it was: nothing
// is answered before it is durable, and the shares are exposed again before anybody can connect.
//
// A shadow copy is a snapshot of the share's folder, shown by a share named
// share@{copy's id}. With AUTO_RECOVERY that share shows a clone of the snapshot, which
// writers may repair until RecoveryComplete; the clone's files share all their blocks with the
// snapshot. Clones live in a folder of the volume that only the array itself can open.
package shadow
