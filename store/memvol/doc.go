// Package memvol is a Volume in memory, written to be obviously right rather
// than fast: one mutex guards everything, a stream is a map from block number
// to an immutable 4 KiB block, and a snapshot is a copy of the inodes it
// covers (the blocks are shared, which immutability makes safe).
//
// It serves two purposes. The server's tests run on it, and it is the oracle of
// the metamorphic tests: what memvol answers is what every engine must answer.
// Where the seam leaves a choice, the choice is written down here:
//
//   - Changes are durable at once, unless Hold delays them.
//   - A nameless file cannot be opened by id; open Nodes and Streams keep working.
//   - A directory that was unlinked accepts no entries (ErrNotFound).
//   - Link to a directory is ErrIsDir; Link of or onto a nameless node ErrNotFound.
//   - Zero is clipped to the current size and leaves the size and the valid data
//     length alone.
//   - Writes and clones raise the valid data length to their end; truncation
//     lowers it to the size; extension leaves it.
//   - SetAllocation below the size truncates to the aligned allocation
//     ([MS-FSA] 2.1.5.15.1). A stream that is not sparse reports at least its size
//     as allocated; a sparse one what its blocks take.
//   - A clone beyond the target's end extends it. A clone whose length is not a
//     multiple of 4 KiB must end at the source's size and at or past the target's.
//   - A snapshot covers the nodes that existed below its scope when it was taken.
//   - Diff and Restore need the file in both views (ErrNotFound); Diff of a
//     stream that exists in one view only is ErrNotFound as well.
//   - Restore takes a stream's name from the snapshot, its case included, and leaves a
//     stream that is open and lacks in the snapshot to its openers.
package memvol
