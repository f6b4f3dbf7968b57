// Package transfer sends the files of a snapshot as a stream, whole or by their difference from an
// earlier snapshot, and makes files of such a stream. Package protocol/archive has the format.
//
// An Export reads a snapshot, so the stream is that of one instant, whatever happens
// meanwhile, and it can be cut and continued at any Mark: the order of entries follows from the
// snapshots alone. Reading and sending overlap; a difference reads only what changed.
//
// An Import verifies every frame before it is used. What it has written is recorded from time to
// time with its Mark in the volume's side store, so a stream that broke is refused with the
// position and the cause, and a later part goes on from there. After the end of a stream the folder
// is snapshotted: that is the base which a difference needs, and a difference is refused where the
// base is missing or the files have changed since.
package transfer
