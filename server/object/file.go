package object

// File is a live file or directory.
type File struct{}

// Stream is one stream of a File.
type Stream struct{}

// Volume is a block-store volume with its live files.
type Volume struct{ store storeVolume }
