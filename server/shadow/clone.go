package shadow

import (
	"errors"
	"io"
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/server/versions"
	"gabion/store"
)

// The clones' home, in the folder that Windows has for such things too.
const (
	systemFolder = "System Volume Information"
	cloneFolder  = "Gabion Shadow Copies"
)

const (
	attrHidden = 0x2 // FILE_ATTRIBUTE_HIDDEN
	attrSystem = 0x4 // FILE_ATTRIBUTE_SYSTEM
)

func clonePath(c *Copy) string { return systemFolder + `\` + cloneFolder + `\` + cloneName(c.ID) }

func cloneName(id dtyp.GUID) string { return strings.ToLower(id.String()) }

// makeClone makes the writable clone of a copy's folder, unless it is there from before a
// restart: every file as one record that shares the snapshot's blocks. A clone that was
// not finished has another name.
func (a *Array) makeClone(c *Copy) error {
	vol := a.vol.Store()
	home, err := a.home()
	if err != nil {
		return err
	}
	defer home.Close()
	if _, err := vol.Lookup(home, cloneName(c.ID)); !errors.Is(err, store.ErrNotFound) {
		return err
	}
	from, err := vol.OpenID(c.View, c.Folder)
	if err != nil {
		return err
	}
	defer from.Close()
	unfinished := cloneName(c.ID) + ".new"
	if err := a.removeTree(home, unfinished); err != nil {
		return err
	}
	k := cloner{vol: vol}
	if err := k.node(from, home, unfinished); err != nil {
		return errors.Join(err, a.removeTree(home, unfinished))
	}
	pos, err := vol.Rename(home, unfinished, home, cloneName(c.ID), false)
	if err != nil {
		return err
	}
	return vol.Wait(pos)
}

// home opens the folder of the clones, making it if need be.
func (a *Array) home() (store.Node, error) {
	vol := a.vol.Store()
	at, err := vol.Root(store.Live)
	if err != nil {
		return nil, err
	}
	now := dtyp.FiletimeOf(time.Now())
	for _, name := range []string{systemFolder, cloneFolder} {
		next, _, err := vol.Open(at, name)
		if errors.Is(err, store.ErrNotFound) {
			next, _, err = vol.Create(at, name, store.Init{
				Dir: true, FileAttributes: attrHidden | attrSystem,
				Times: store.Times{Creation: now, LastAccess: now, LastWrite: now, Change: now},
				Blobs: map[store.BlobKind][]byte{store.BlobSecurity: systemOnly.Append(nil)},
			})
		}
		at.Close()
		if err != nil {
			return nil, err
		}
		at = next
	}
	return at, nil
}

// systemOnly lets nobody in but the array itself.
var systemOnly = dtyp.SecurityDescriptor{
	Control: dtyp.SelfRelative | dtyp.DACLPresent | dtyp.DACLProtected,
	Owner:   dtyp.LocalSystem, Group: dtyp.LocalSystem,
	DACL: dtyp.NewACL(dtyp.ACE{Type: dtyp.AccessAllowed, Mask: dtyp.FileAllAccess, SID: dtyp.LocalSystem}),
}

// cloner copies a tree by metadata alone.
type cloner struct{ vol store.Volume }

// node clones one file or directory, with what is below it, into a directory. A file of
// several names becomes several files.
func (k *cloner) node(from, into store.Node, name string) error {
	attr, err := from.Attr()
	if err != nil {
		return err
	}
	// It has the file's security from the first instant on.
	security, err := from.Blob(store.BlobSecurity)
	if err != nil {
		return err
	}
	init := store.Init{Dir: attr.Dir, FileAttributes: attr.FileAttributes, Blobs: map[store.BlobKind][]byte{}}
	if security != nil {
		init.Blobs[store.BlobSecurity] = security
	}
	to, _, err := k.vol.Create(into, name, init)
	if err != nil {
		return err
	}
	defer to.Close()
	if _, err := versions.CopyContents(from, to); err != nil {
		return err
	}
	if attr.Dir {
		return k.entries(from, to)
	}
	return nil
}

// entries clones what a directory holds.
func (k *cloner) entries(from, to store.Node) error {
	const step = 256
	after := ""
	for {
		list, err := k.vol.ReadDir(from, after, step, nil)
		if err != nil {
			return err
		}
		for _, e := range list {
			after = e.Name
			if from.ID() == store.RootID && e.Name == systemFolder {
				continue
			}
			n, err := k.vol.OpenID(from.View(), e.ID)
			if err != nil {
				return err
			}
			err = k.node(n, to, e.Name)
			n.Close()
			if err != nil {
				return err
			}
		}
		if len(list) < step {
			return nil
		}
	}
}

// removeClone takes a clone away; finished or not.
func (a *Array) removeClone(id dtyp.GUID) error {
	home, err := a.home()
	if err != nil {
		return err
	}
	defer home.Close()
	return errors.Join(a.removeTree(home, cloneName(id)), a.removeTree(home, cloneName(id)+".new"))
}

// removeTree removes a file or a directory with all that is below it, if it is there.
func (a *Array) removeTree(dir store.Node, name string) error {
	vol := a.vol.Store()
	n, _, err := vol.Open(dir, name)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer n.Close()
	for n.IsDir() {
		list, err := vol.ReadDir(n, "", 256, nil)
		if err != nil && err != io.EOF {
			return err
		}
		if len(list) == 0 {
			break
		}
		for _, e := range list {
			if err := a.removeTree(n, e.Name); err != nil {
				return err
			}
		}
	}
	_, err = vol.Unlink(dir, name)
	return err
}

// removeStrayClones removes the clones of copies that are not exposed.
func (a *Array) removeStrayClones(sets []*Set) error {
	vol := a.vol.Store()
	root, err := vol.Root(store.Live)
	if err != nil {
		return err
	}
	defer root.Close()
	if _, err := vol.Lookup(root, systemFolder); errors.Is(err, store.ErrNotFound) {
		return nil
	}
	known := map[string]bool{}
	for _, s := range sets {
		for _, c := range s.Copies {
			known[cloneName(c.ID)] = c.Exposed != "" && c.Writable
		}
	}
	home, err := a.home()
	if err != nil {
		return err
	}
	defer home.Close()
	list, err := vol.ReadDir(home, "", 1<<20, nil)
	if err != nil {
		return err
	}
	for _, e := range list {
		if !known[e.Name] {
			if err := a.removeTree(home, e.Name); err != nil {
				return err
			}
		}
	}
	return nil
}
