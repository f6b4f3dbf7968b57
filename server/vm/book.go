package vm

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gabion/auth"
	"gabion/store"
)

const (
	machineBucket = "vms"
	groupBucket   = "groups"
	// maxParts bounds what one machine or group names.
	maxParts = 1000
)

var (
	// ErrExists is returned for a name that is taken.
	ErrExists = errors.New("exists already")
	// ErrAmbiguous is returned when several folders could be meant.
	ErrAmbiguous = errors.New("several folders have that name")
)

// Machine is a virtual machine.
type Machine struct {
	Name string `json:"name"`
	// Parts are its files and folders as SHARE/PATH.
	Parts []string `json:"parts"`
	// Found says that it was found from a folder, not made.
	Found bool `json:"found"`
}

// Group is a set of machines.
type Group struct {
	Name string   `json:"name"`
	VMs  []string `json:"vms"`
}

// Shares is what a Book needs to know of shares.
type Shares interface {
	// Folder returns a share's own spelling and its folder on the volume.
	Folder(share string) (name, folder string, ok bool)
	Names() []string
}

// Book keeps the machines and groups of a volume. It is safe for concurrent use.
type Book struct {
	vol    store.Volume
	shares Shares

	mu       sync.Mutex // guards the maps, by upcased name; held over changes of the side store
	machines map[string]Machine
	groups   map[string]Group
}

// Open reads the book of a volume.
func Open(vol store.Volume, shares Shares) (*Book, error) {
	b := &Book{vol: vol, shares: shares, machines: map[string]Machine{}, groups: map[string]Group{}}
	if err := load(vol, machineBucket, b.machines); err != nil {
		return nil, err
	}
	return b, load(vol, groupBucket, b.groups)
}

func load[T any](vol store.Volume, bucket string, to map[string]T) error {
	var bad error
	err := vol.KV().Scan(bucket, "", func(key string, value []byte) bool {
		var x T
		bad = json.Unmarshal(value, &x)
		to[key] = x
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return fmt.Errorf("reading %s: %w", bucket, err)
	}
	return nil
}

// put keeps a record, or removes it when v is nil.
func (b *Book) put(bucket, key string, v any) error {
	e := store.KVEdit{Bucket: bucket, Key: key}
	if v != nil {
		value, err := json.Marshal(v)
		if err != nil {
			return err
		}
		e.Value = value
	}
	pos, err := b.vol.KV().Apply([]store.KVEdit{e})
	if err != nil {
		return err
	}
	return b.vol.Wait(pos)
}

// Add makes a machine of files and folders that are there.
func (b *Book) Add(name string, parts []string) (Machine, error) {
	if !validName(name) || len(parts) == 0 || len(parts) > maxParts {
		return Machine{}, fmt.Errorf("vm %q with %d parts: %w", name, len(parts), ErrMalformed)
	}
	m := Machine{Name: name}
	for _, text := range parts {
		kind, at, err := split(text)
		if err == nil && kind != "" {
			err = fmt.Errorf("%q: a machine is made of SHARE/PATH: %w", text, ErrMalformed)
		}
		if err != nil {
			return Machine{}, err
		}
		p, err := b.place(at)
		if err != nil {
			return Machine{}, err
		}
		m.Parts = append(m.Parts, p.String())
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.ToUpper(name)
	if _, taken := b.machines[key]; taken {
		return Machine{}, fmt.Errorf("vm %q: %w", name, ErrExists)
	}
	if err := b.put(machineBucket, key, m); err != nil {
		return Machine{}, err
	}
	b.machines[key] = m
	return m, nil
}

// Remove forgets a machine that was made; its files stay.
func (b *Book) Remove(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.ToUpper(name)
	if _, ok := b.machines[key]; !ok {
		return fmt.Errorf("vm %q was not made here: %w", name, ErrUnknown)
	}
	if err := b.put(machineBucket, key, nil); err != nil {
		return err
	}
	delete(b.machines, key)
	return nil
}

// SetGroup makes a group of machines, or changes it.
func (b *Book) SetGroup(name string, vms []string) (Group, error) {
	if !validName(name) || len(vms) == 0 || len(vms) > maxParts {
		return Group{}, fmt.Errorf("group %q with %d machines: %w", name, len(vms), ErrMalformed)
	}
	g := Group{Name: name}
	for _, vm := range vms {
		t, err := b.Resolve("vm:" + strings.TrimPrefix(vm, "vm:"))
		if err != nil {
			return Group{}, err
		}
		g.VMs = append(g.VMs, t.VMs...)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.put(groupBucket, strings.ToUpper(name), g); err != nil {
		return Group{}, err
	}
	b.groups[strings.ToUpper(name)] = g
	return g, nil
}

// RemoveGroup forgets a group; its machines stay.
func (b *Book) RemoveGroup(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := strings.ToUpper(name)
	if _, ok := b.groups[key]; !ok {
		return fmt.Errorf("group %q: %w", name, ErrUnknown)
	}
	if err := b.put(groupBucket, key, nil); err != nil {
		return err
	}
	delete(b.groups, key)
	return nil
}

// Groups lists the groups by name.
func (b *Book) Groups() []Group {
	b.mu.Lock()
	defer b.mu.Unlock()
	return sorted(b.groups, func(g Group) string { return g.Name })
}

// GroupsOf are the groups that a machine is in.
func (b *Book) GroupsOf(vm string) (names []string) {
	for _, g := range b.Groups() {
		if slices.ContainsFunc(g.VMs, func(m string) bool { return strings.EqualFold(m, vm) }) {
			names = append(names, g.Name)
		}
	}
	return names
}

func sorted[T any](m map[string]T, name func(T) string) []T {
	list := make([]T, 0, len(m))
	for _, x := range m {
		list = append(list, x)
	}
	slices.SortFunc(list, func(x, y T) int { return strings.Compare(strings.ToUpper(name(x)), strings.ToUpper(name(y))) })
	return list
}

// List returns the machines that were made, and those found from folders.
func (b *Book) List() ([]Machine, error) {
	found, err := b.find("")
	if err != nil {
		return nil, err
	}
	all := map[string]Machine{}
	for _, p := range found {
		m := Machine{Name: base(p.Path), Found: true}
		if other, twice := all[strings.ToUpper(m.Name)]; twice {
			m.Parts = other.Parts // ambiguous: all are shown, Resolve refuses
		}
		m.Parts = append(m.Parts, p.String())
		all[strings.ToUpper(m.Name)] = m
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, m := range b.machines {
		all[key] = m
	}
	return sorted(all, func(m Machine) string { return m.Name }), nil
}

func base(p string) string { return p[strings.LastIndexByte(p, '/')+1:] }

// Resolve finds what a target's text names now.
func (b *Book) Resolve(text string) (*Target, error) {
	kind, name, err := split(text)
	if err != nil {
		return nil, err
	}
	switch kind {
	case "vm":
		return b.machine(name)
	case "group":
		return b.group(name)
	}
	p, err := b.place(name)
	if err != nil {
		return nil, err
	}
	return &Target{Text: p.String(), Places: []Place{p}}, nil
}

func (b *Book) group(name string) (*Target, error) {
	b.mu.Lock()
	g, ok := b.groups[strings.ToUpper(name)]
	b.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("group %q: %w", name, ErrUnknown)
	}
	t := &Target{Text: "group:" + g.Name, Group: g.Name}
	for _, vm := range g.VMs {
		m, err := b.machine(vm)
		if err != nil {
			return nil, fmt.Errorf("group %q: %w", name, err)
		}
		t.VMs, t.Places = append(t.VMs, m.VMs...), append(t.Places, m.Places...)
	}
	t.dedupe()
	return t, nil
}

func (b *Book) machine(name string) (*Target, error) {
	b.mu.Lock()
	m, ok := b.machines[strings.ToUpper(name)]
	b.mu.Unlock()
	if !ok {
		found, err := b.find(name)
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0:
			return nil, fmt.Errorf("vm %q: %w; there is neither such a machine (gabion vm list) nor such a folder with virtual disks", name, ErrUnknown)
		case len(found) > 1:
			return nil, fmt.Errorf("vm %q: %w: %v and %v; make one with gabion vm add", name, ErrAmbiguous, found[0], found[1])
		}
		own := base(found[0].Path)
		return &Target{Text: "vm:" + own, VMs: []string{own}, Places: found}, nil
	}
	t := &Target{Text: "vm:" + m.Name, VMs: []string{m.Name}}
	for _, text := range m.Parts {
		p, err := b.place(text)
		if err != nil {
			return nil, fmt.Errorf("vm %q: %w", m.Name, err)
		}
		t.Places = append(t.Places, p)
	}
	t.dedupe()
	return t, nil
}

// dedupe drops places that are named twice.
func (t *Target) dedupe() {
	seen := map[store.FileID]bool{}
	t.Places = slices.DeleteFunc(t.Places, func(p Place) bool {
		twice := seen[p.ID]
		seen[p.ID] = true
		return twice
	})
}

// Parse is Resolve for something that may be gone by now: the places without what is
// there, for operations on snapshots.
func (b *Book) Parse(text string) (*Target, error) {
	t, err := b.Resolve(text)
	if err == nil || !errors.Is(err, ErrUnknown) {
		return t, err
	}
	kind, name, bad := split(text)
	if bad != nil || kind != "" {
		return nil, err
	}
	share, path, _ := strings.Cut(name, "/")
	own, folder, ok := b.shares.Folder(share)
	if !ok {
		return nil, err
	}
	p := Place{Share: own, Path: path, Full: Clean(folder + "/" + path)}
	return &Target{Text: p.String(), Places: []Place{p}}, nil
}

// place finds SHARE[/PATH].
func (b *Book) place(text string) (Place, error) {
	share, path, _ := strings.Cut(text, "/")
	own, folder, ok := b.shares.Folder(share)
	if !ok {
		return Place{}, fmt.Errorf("there is no share %q: %w", share, ErrUnknown)
	}
	p := Place{Share: own, Path: path, Full: Clean(folder + "/" + path)}
	n, err := Walk(b.vol, store.Live, p.Full)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrNotDir) {
		return Place{}, fmt.Errorf("%s: %w", text, ErrUnknown)
	}
	if err != nil {
		return Place{}, err
	}
	defer n.Close()
	p.ID, p.Dir = n.ID(), n.IsDir()
	return p, nil
}

// find lists the folders at the top of shares that hold virtual disks, or those of one name.
func (b *Book) find(name string) ([]Place, error) {
	var out []Place
	seen := map[store.FileID]bool{}
	for _, share := range b.shares.Names() {
		top, err := b.place(share)
		if err != nil {
			continue // the share is going
		}
		n, err := b.vol.OpenID(store.Live, top.ID)
		if err != nil {
			continue
		}
		err = Each(b.vol, n, func(e store.Entry) error {
			if !e.Dir || name != "" && !strings.EqualFold(e.Name, name) || seen[e.ID] || !validName(e.Name) {
				return nil
			}
			seen[e.ID] = true
			holds, err := b.holdsDisk(n, e.Name)
			if holds {
				out = append(out, Place{Share: top.Share, Path: e.Name, Full: Clean(top.Full + "/" + e.Name), ID: e.ID, Dir: true})
			}
			return err
		})
		n.Close()
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
	}
	return out, nil
}

var errYes = errors.New("yes")

// holdsDisk reports whether a folder, or one of its folders, has a virtual disk in it.
func (b *Book) holdsDisk(parent store.Node, name string) (bool, error) {
	dir, _, err := b.vol.Open(parent, name)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	disk := func(e store.Entry) error {
		if !e.Dir && IsDisk(e.Name) {
			return errYes
		}
		return nil
	}
	err = Each(b.vol, dir, func(e store.Entry) error {
		if !e.Dir {
			return disk(e)
		}
		sub, _, err := b.vol.Open(dir, e.Name)
		if err != nil {
			return err
		}
		defer sub.Close()
		return Each(b.vol, sub, disk)
	})
	if err == errYes {
		return true, nil
	}
	return false, err
}

// Allowed reports whether a role that is held at the scopes that may says is held for all
// of a target: for its machine or group by name, or for each of its places. A place counts too
// when it is part of a machine for which the role is held.
func (b *Book) Allowed(t *Target, may func(auth.Scope) bool) bool {
	if may(auth.Array) || t.Group != "" && may(auth.Scope("group:"+t.Group)) {
		return true
	}
	if len(t.VMs) > 0 && !slices.ContainsFunc(t.VMs, func(vm string) bool { return !b.allowedVM(vm, may) }) {
		return true
	}
	return len(t.Places) > 0 && !slices.ContainsFunc(t.Places, func(p Place) bool { return !b.AllowedPlace(p, may) })
}

func (b *Book) allowedVM(vm string, may func(auth.Scope) bool) bool {
	if may(auth.Scope("vm:" + vm)) {
		return true
	}
	return slices.ContainsFunc(b.GroupsOf(vm), func(g string) bool { return may(auth.Scope("group:" + g)) })
}

// AllowedPlace is Allowed for one place.
func (b *Book) AllowedPlace(p Place, may func(auth.Scope) bool) bool {
	if may(p.Scope()) {
		return true
	}
	b.mu.Lock()
	machines := sorted(b.machines, func(m Machine) string { return m.Name })
	b.mu.Unlock()
	for _, m := range machines {
		for _, part := range m.Parts {
			if _, in := below(part, p.String()); in && b.allowedVM(m.Name, may) {
				return true
			}
		}
	}
	top, _, _ := strings.Cut(p.Path, "/")
	return top != "" && validName(top) && b.found(top, p) && b.allowedVM(top, may)
}

// found reports whether a place lies in the folder from which a machine of that name is found.
func (b *Book) found(name string, p Place) bool {
	b.mu.Lock()
	_, made := b.machines[strings.ToUpper(name)]
	b.mu.Unlock()
	if made {
		return false
	}
	list, err := b.find(name)
	if err != nil || len(list) != 1 {
		return false
	}
	_, in := below(list[0].String(), p.String())
	return in
}
