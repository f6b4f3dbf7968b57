package object

import (
	"gabion/protocol/ntstatus"
	"gabion/store"
)

type storeVolume = store.Volume

// Mount brings a volume into the object store. The caller closes the store.Volume
// after every tree of it is gone.
func (fs *FS) Mount(v store.Volume) *Volume { return &Volume{store: v} }

// Tree makes a share's window on the directory at path ("" is the volume's
// root).
func (v *Volume) Tree(path string, opt TreeOptions) (*Tree, ntstatus.Status) {
	return nil, ntstatus.NotImplemented
}

// Close unpins the tree's root.
func (t *Tree) Close() {}

// Opens calls fn for every open of the volume until it returns false: for
// listing and closing by an administrator.
func (v *Volume) Opens(fn func(*Open) bool) {}
