package rsvd

import "gabion/store"

// StoreFolder is a Folder without access checks, for callers that are the server
// itself.
type StoreFolder struct {
	Volume store.Volume
	Dir    store.Node
}

// Open implements Folder.
func (f StoreFolder) Open(name string) (store.Node, error) {
	n, _, err := f.Volume.Open(f.Dir, name)
	return n, err
}

// Create implements Folder.
func (f StoreFolder) Create(name string) (store.Node, error) {
	n, _, err := f.Volume.Create(f.Dir, name, store.Init{})
	return n, err
}

// Rename implements Folder.
func (f StoreFolder) Rename(name, newName string) (store.Pos, error) {
	return f.Volume.Rename(f.Dir, name, f.Dir, newName, false)
}

// Remove implements Folder.
func (f StoreFolder) Remove(name string) (store.Pos, error) { return f.Volume.Unlink(f.Dir, name) }
