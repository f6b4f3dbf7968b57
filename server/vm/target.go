package vm

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"gabion/auth"
	"gabion/store"
)

var (
	// ErrUnknown is returned for a target that is not there.
	ErrUnknown = errors.New("not found")
	// ErrMalformed is returned for a text that names no target.
	ErrMalformed = errors.New("a target is SHARE, SHARE/PATH, vm:NAME or group:NAME")
)

// Place is a file or folder of a share.
type Place struct {
	Share string
	Path  string // within the share, with slashes; "" is the share itself
	Full  string // from the volume's root, with slashes
	ID    store.FileID
	Dir   bool
}

// String is SHARE/PATH.
func (p Place) String() string { return strings.TrimSuffix(p.Share+"/"+p.Path, "/") }

// Scope is where roles for the place are granted.
func (p Place) Scope() auth.Scope { return auth.FileScope(p.Share, p.Path) }

// Target is what an operation works on.
type Target struct {
	Text   string   // as resolved: the share's and machine's own spelling
	Group  string   // of group:NAME
	VMs    []string // the machines that it names
	Places []Place
}

// IDs are the files and folders that a snapshot of the target covers.
func (t *Target) IDs() []store.FileID {
	ids := make([]store.FileID, len(t.Places))
	for i, p := range t.Places {
		ids[i] = p.ID
	}
	return ids
}

// Clean is a path with slashes between its parts only.
func Clean(p string) string {
	return strings.Join(strings.FieldsFunc(p, func(r rune) bool { return r == '/' || r == '\\' }), "/")
}

// split takes a target's text apart: kind is "vm", "group" or "" for a place.
func split(text string) (kind, name string, err error) {
	kind, name, ok := strings.Cut(text, ":")
	if !ok {
		name = Clean(text)
		if name == "" || strings.HasPrefix(path.Clean("/"+name), "/..") {
			return "", "", fmt.Errorf("%q: %w", text, ErrMalformed)
		}
		for _, part := range strings.Split(name, "/") {
			if part == "." || part == ".." {
				return "", "", fmt.Errorf("%q: %w", text, ErrMalformed)
			}
		}
		return "", name, nil
	}
	kind = strings.ToLower(kind)
	if kind != "vm" && kind != "group" || !validName(name) {
		return "", "", fmt.Errorf("%q: %w", text, ErrMalformed)
	}
	return kind, name, nil
}

// validName reports whether name can be a machine's or a group's.
func validName(name string) bool {
	return name != "" && len(name) <= 200 && name == strings.TrimSpace(name) && !strings.ContainsAny(name, "/\\:\x00\r\n\t")
}

// Walk opens a path from the volume's root in a view.
func Walk(vol store.Volume, v store.View, full string) (store.Node, error) {
	n, err := vol.Root(v)
	if err != nil {
		return nil, err
	}
	return descend(vol, n, full)
}

// descend opens a path below n, which it closes.
func descend(vol store.Volume, n store.Node, rest string) (store.Node, error) {
	for _, name := range strings.FieldsFunc(rest, func(r rune) bool { return r == '/' }) {
		next, _, err := vol.Open(n, name)
		n.Close()
		if err != nil {
			return nil, err
		}
		n = next
	}
	return n, nil
}

// Locate opens what a path from the volume's root led to when a snapshot was taken; the
// path of what was snapshotted itself is that of now. store.ErrNotFound: there was nothing,
// or the snapshot does not cover it.
func Locate(vol store.Volume, s store.Snapshot, full string) (store.Node, error) {
	missing := fmt.Errorf("%s in snapshot %q: %w", full, s.Name, store.ErrNotFound)
	for _, id := range s.Scope {
		at, err := RootPath(vol, s, id)
		if err != nil {
			continue
		}
		rest, ok := below(at, full)
		if !ok {
			continue
		}
		n, err := vol.OpenID(s.View, id)
		if err == nil {
			n, err = descend(vol, n, rest)
		}
		if err == nil || !errors.Is(err, store.ErrNotFound) && !errors.Is(err, store.ErrNotDir) {
			return n, err
		}
	}
	return nil, missing
}

// RootPath is the path from the volume's root of what a snapshot was taken of.
func RootPath(vol store.Volume, s store.Snapshot, id store.FileID) (string, error) {
	p := ""
	for v := s.View; id != store.RootID; {
		n, err := vol.OpenID(v, id)
		if err != nil && v != store.Live {
			v = store.Live // above what the snapshot covers the names are those of now
			n, err = vol.OpenID(v, id)
		}
		if err != nil {
			return "", err
		}
		names, err := n.Names()
		n.Close()
		if err != nil {
			return "", err
		}
		if len(names) == 0 {
			return "", store.ErrNotFound
		}
		p, id = path.Join(names[0].Name, p), names[0].Parent
	}
	return p, nil
}

// below reports whether full is dir or lies in it, and the rest of it.
func below(dir, full string) (rest string, ok bool) {
	if dir == "" {
		return full, true
	}
	if len(full) < len(dir) || !strings.EqualFold(full[:len(dir)], dir) {
		return "", false
	}
	if len(full) == len(dir) {
		return "", true
	}
	return full[len(dir)+1:], full[len(dir)] == '/'
}

// IsDisk reports whether a file's name is that of a virtual disk.
func IsDisk(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".vhd", ".vhdx", ".avhd", ".avhdx", ".vhds":
		return true
	}
	return false
}

// Disk is a virtual disk of a target.
type Disk struct {
	Place
	Name string // its path below the folder it was found in, or its own name
	Size int64
}

// Disks lists the virtual disks of a target as they are in a view: the files it names, and
// those in its folders. locate opens a place in that view.
func Disks(vol store.Volume, t *Target, locate func(Place) (store.Node, error)) ([]Disk, error) {
	var out []Disk
	for _, p := range t.Places {
		n, err := locate(p)
		if err != nil {
			return nil, err
		}
		err = disksBelow(vol, n, p, "", &out)
		n.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func disksBelow(vol store.Volume, n store.Node, p Place, at string, out *[]Disk) error {
	if !n.IsDir() {
		a, err := n.Attr()
		p.ID, p.Dir = n.ID(), false
		if at == "" {
			at = path.Base(p.Path)
		}
		*out = append(*out, Disk{Place: p, Name: at, Size: a.Size})
		return err
	}
	return Each(vol, n, func(e store.Entry) error {
		if !e.Dir && !IsDisk(e.Name) || e.ReparseTag != 0 {
			return nil
		}
		c, _, err := vol.Open(n, e.Name)
		if err != nil {
			return err
		}
		defer c.Close()
		q := p
		q.Path, q.Full = path.Join(p.Path, e.Name), path.Join(p.Full, e.Name)
		return disksBelow(vol, c, q, path.Join(at, e.Name), out)
	})
}

// Each calls fn for every entry of a directory.
func Each(vol store.Volume, dir store.Node, fn func(store.Entry) error) error {
	const batch = 256
	after := ""
	for {
		list, err := vol.ReadDir(dir, after, batch, nil)
		if err != nil {
			return err
		}
		for _, e := range list {
			if err := fn(e); err != nil {
				return err
			}
		}
		if len(list) < batch {
			return nil
		}
		after = list[len(list)-1].Name
	}
}
