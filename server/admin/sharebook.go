package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/server"
	"gabion/server/object"
	"gabion/server/vm"
	"gabion/store"
)

// ShareSpec is a share as an administrator writes it: NAME[,option…].
type ShareSpec struct {
	Name    string `json:"name"`
	Path    string `json:"path"` // folder of the volume, "" for all of it
	Comment string `json:"comment"`
	CA      bool   `json:"ca"`
	// SharedVHDX serves shared virtual disks, on a continuously available share only.
	SharedVHDX bool `json:"shared-vhdx"`
	Encrypt    bool `json:"encrypt"`
	ReadOnly   bool `json:"readonly"`
	ABE        bool `json:"abe"`
	NoODX      bool `json:"no-odx"` // offloaded transfers are refused
	// Compress stores what shrinks compressed, which costs processor time.
	Compress bool `json:"compress"`
	// Quota is how many bytes the files of the folder may be large together; 0 is no limit.
	Quota int64    `json:"quota"`
	Allow []string `json:"allow"` // principals; empty lets every authenticated user in
	// Snapshot is the one that a read-only share shows; "" is the volume as it is now.
	Snapshot string `json:"snapshot,omitempty"`
	// Set with Windows' tools only: the descriptor as SDDL, which stands instead of Allow,
	// how many clients may connect, and what they are told to cache.
	Security string               `json:"security,omitempty"`
	MaxUses  int                  `json:"max_uses,omitempty"`
	Caching  server.CachingPolicy `json:"caching,omitempty"`
}

// ParseShare reads NAME[,option…] with the options path=DIR, ca, shared-vhdx (which implies ca),
// encrypt, readonly, abe, no-odx, compress, quota=SIZE, comment=TEXT and allow=PRINCIPAL, which may be repeated.
func ParseShare(text string) (ShareSpec, error) {
	words := strings.Split(text, ",")
	s := ShareSpec{Name: words[0]}
	if err := server.ValidShareName(s.Name); err != nil {
		return s, err
	}
	for _, w := range words[1:] {
		option, value, hasValue := strings.Cut(w, "=")
		flags := map[string]*bool{"ca": &s.CA, "encrypt": &s.Encrypt, "readonly": &s.ReadOnly, "abe": &s.ABE, "no-odx": &s.NoODX, "shared-vhdx": &s.SharedVHDX, "compress": &s.Compress}
		switch {
		case flags[option] != nil && !hasValue:
			*flags[option] = true
		case option == "path" && value != "":
			s.Path = strings.Trim(strings.ReplaceAll(value, "/", `\`), `\`)
		case option == "comment" && hasValue:
			s.Comment = value
		case option == "quota" && value != "":
			var err error
			if s.Quota, err = ParseSize(value); err != nil {
				return s, fmt.Errorf("share %q: quota: %w", s.Name, err)
			}
		case option == "allow" && value != "":
			s.Allow = append(s.Allow, value)
		default:
			return s, fmt.Errorf("share %q: unknown option %q; there are path=DIR, ca, shared-vhdx, encrypt, readonly, abe, no-odx, compress, quota=SIZE, comment=TEXT, allow=PRINCIPAL", s.Name, w)
		}
	}
	s.CA = s.CA || s.SharedVHDX
	return s, nil
}

const shareBucket = "shares"

// ShareBook keeps the shares that administrators made and puts them, and those
// named at start, on the server.
type ShareBook struct {
	srv   *server.Server
	vol   *object.Volume
	names *auth.Names

	editing sync.Mutex // serialises what changes shares, the kept ones with those that run; taken before mu
	mu      sync.Mutex // guards what follows; never held while the store is waited for
	specs   map[string]ShareSpec
	// unlimited is why a share has not the quota that it should have.
	unlimited map[string]error
}

// OpenShareBook adds the given shares, and the kept ones unless one of the same
// name is given, to the server.
func OpenShareBook(srv *server.Server, vol *object.Volume, names *auth.Names, given []ShareSpec) (*ShareBook, error) {
	b := &ShareBook{srv: srv, vol: vol, names: names, specs: map[string]ShareSpec{}, unlimited: map[string]error{}}
	for _, s := range given {
		if err := b.start(s); err != nil {
			return nil, err
		}
	}
	var kept []ShareSpec
	var bad error
	err := vol.Store().KV().Scan(shareBucket, "", func(_ string, value []byte) bool {
		var s ShareSpec
		bad = json.Unmarshal(value, &s)
		kept = append(kept, s)
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("reading the kept shares: %w", err)
	}
	for _, s := range kept {
		if _, taken := b.specs[strings.ToUpper(s.Name)]; taken {
			continue
		}
		err := b.start(s)
		if s.Snapshot != "" && errors.Is(err, store.ErrNotFound) {
			continue // it was deleted by other means; its share goes with it
		}
		if err != nil {
			return nil, err
		}
	}
	return b, nil
}

// List returns the shares by name.
func (b *ShareBook) List() []ShareSpec {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]ShareSpec, 0, len(b.specs))
	for _, s := range b.specs {
		list = append(list, s)
	}
	slices.SortFunc(list, func(x, y ShareSpec) int { return strings.Compare(strings.ToUpper(x.Name), strings.ToUpper(y.Name)) })
	return list
}

// Find returns the share of that name, ignoring case.
func (b *ShareBook) Find(name string) (ShareSpec, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, ok := b.specs[strings.ToUpper(name)]
	return s, ok
}

// Folder returns a share's own spelling and its folder on the volume; for vm.Book.
func (b *ShareBook) Folder(share string) (name, folder string, ok bool) {
	s, ok := b.Find(share)
	return s.Name, strings.ReplaceAll(s.Path, `\`, "/"), ok
}

// Names lists the shares' names; for vm.Book.
func (b *ShareBook) Names() []string {
	list := b.List()
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Name
	}
	return names
}

// keep remembers a share for the starts to come.
func (b *ShareBook) keep(s ShareSpec) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return b.apply(store.KVEdit{Bucket: shareBucket, Key: strings.ToUpper(s.Name), Value: value})
}

func (b *ShareBook) apply(e store.KVEdit) error {
	pos, err := b.vol.Store().KV().Apply([]store.KVEdit{e})
	if err != nil {
		return err
	}
	return b.vol.Store().Wait(pos)
}

// Add makes a share, now and for the starts to come.
func (b *ShareBook) Add(s ShareSpec) error {
	b.editing.Lock()
	defer b.editing.Unlock()
	if err := b.serve(s); err != nil {
		return err
	}
	if err := b.limitNew(s); err != nil {
		return errors.Join(fmt.Errorf("share %q: quota: %w", s.Name, err), b.withdraw(s.Name))
	}
	if err := b.keep(s); err != nil {
		// What is not kept does not run either.
		return errors.Join(err, b.withdraw(s.Name))
	}
	return nil
}

// Change changes what of a share may change while clients are connected, now and for the
// starts to come.
func (b *ShareBook) Change(name string, change func(*server.ShareSettings)) error {
	b.editing.Lock()
	defer b.editing.Unlock()
	s, known := b.Find(name)
	sh := b.srv.Share(name)
	if !known || sh == nil {
		return fmt.Errorf("share %q: %w", name, server.ErrNoShare)
	}
	to := sh.Settings()
	had := to.Security
	change(&to)
	s.Comment, s.MaxUses, s.Caching = to.Comment, to.MaxUses, to.Caching
	if to.Security != had {
		s.Security = to.Security.SDDL()
	}
	if err := b.keep(s); err != nil {
		return err
	}
	b.mu.Lock()
	b.specs[strings.ToUpper(name)] = s
	b.mu.Unlock()
	sh.Change(to)
	return nil
}

// Remove takes a share away; its files stay.
func (b *ShareBook) Remove(name string) error {
	b.editing.Lock()
	defer b.editing.Unlock()
	if sh := b.srv.Share(name); sh == nil || sh.IsPipe() {
		return fmt.Errorf("share %q: %w", name, server.ErrNoShare)
	}
	return errors.Join(b.withdraw(name), b.apply(store.KVEdit{Bucket: shareBucket, Key: strings.ToUpper(name)}))
}

// withdraw takes a share from the server, and its part in the quota from its folder.
func (b *ShareBook) withdraw(name string) error {
	sh := b.srv.Share(name)
	if err := b.srv.RemoveShare(name); err != nil {
		return err
	}
	folder := sh.Tree.RootID()
	sh.Tree.Close()
	b.mu.Lock()
	gone := b.specs[strings.ToUpper(name)]
	delete(b.specs, strings.ToUpper(name))
	limited := b.unlimited[strings.ToUpper(name)] == nil
	delete(b.unlimited, strings.ToUpper(name))
	b.mu.Unlock()
	if gone.Quota > 0 && gone.Snapshot == "" && limited {
		return b.limit(gone.Path, folder)
	}
	return nil
}

// serve puts a share on the server, making its folder if there is none.
func (b *ShareBook) serve(s ShareSpec) error {
	s.CA = s.CA || s.SharedVHDX
	sd, err := b.security(s)
	if err != nil {
		return err
	}
	tree, err := b.tree(s)
	if err != nil {
		return err
	}
	err = b.srv.AddShare(&server.Share{
		Name: s.Name, Comment: s.Comment, Tree: tree, ContinuouslyAvailable: s.CA, Encrypt: s.Encrypt,
		ReadOnly: s.ReadOnly, AccessBasedEnumeration: s.ABE, SharedVHDX: s.SharedVHDX, NoOffload: s.NoODX, Security: sd, MaxUses: s.MaxUses, Caching: s.Caching,
	})
	if err != nil {
		tree.Close()
		return err
	}
	b.mu.Lock()
	b.specs[strings.ToUpper(s.Name)] = s
	b.mu.Unlock()
	return nil
}

// start is serve when the server starts. A quota that cannot be set, because what the folder holds cannot
// be counted, keeps no client from its data: the share is there without, which Unlimited tells.
func (b *ShareBook) start(s ShareSpec) error {
	if err := b.serve(s); err != nil {
		return err
	}
	if err := b.limitNew(s); err != nil {
		b.mu.Lock()
		b.unlimited[strings.ToUpper(s.Name)] = err
		b.mu.Unlock()
	}
	return nil
}

// Unlimited is why shares, by name, have no quota although one is asked for.
func (b *ShareBook) Unlimited() map[string]error {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := make(map[string]error, len(b.unlimited))
	for key, err := range b.unlimited {
		m[b.specs[key].Name] = err
	}
	return m
}

// limitNew sets the quota of a share that serve has put on the server.
func (b *ShareBook) limitNew(s ShareSpec) error {
	if s.Quota == 0 || s.Snapshot != "" {
		return nil
	}
	return b.limit(s.Path, b.srv.Share(s.Name).Tree.RootID())
}

// limit sets the quota of a folder: the smallest that a share of it has.
func (b *ShareBook) limit(path string, folder store.FileID) error {
	least := int64(0)
	for _, s := range b.List() {
		if s.Snapshot == "" && s.Quota > 0 && strings.EqualFold(s.Path, path) && (least == 0 || s.Quota < least) {
			least = s.Quota
		}
	}
	q, ok := b.vol.Store().(store.Quotas)
	if !ok {
		if least == 0 {
			return nil
		}
		return errors.New("the volume keeps no quotas")
	}
	return q.SetQuota(folder, least)
}

// Set changes a share's quota and whether it compresses, now and for the starts to come.
func (b *ShareBook) Set(name string, change func(*ShareSpec)) error {
	b.editing.Lock()
	defer b.editing.Unlock()
	s, known := b.Find(name)
	sh := b.srv.Share(name)
	if !known || sh == nil || s.Snapshot != "" {
		return fmt.Errorf("share %q: %w", name, server.ErrNoShare)
	}
	was := s
	change(&s)
	set := func(s ShareSpec) {
		b.mu.Lock()
		b.specs[strings.ToUpper(name)] = s
		b.mu.Unlock()
	}
	set(s)
	if err := b.limit(s.Path, sh.Tree.RootID()); err != nil {
		set(was)
		return err
	}
	b.mu.Lock()
	delete(b.unlimited, strings.ToUpper(name))
	b.mu.Unlock()
	if err := b.keep(s); err != nil {
		// What is not kept does not run either.
		set(was)
		return errors.Join(err, b.limit(was.Path, sh.Tree.RootID()))
	}
	sh.Tree.Compress(s.Compress)
	return nil
}

// ShareState is a share and what its quota has taken.
type ShareState struct {
	ShareSpec
	QuotaUsed int64 `json:"quota_used"` // 0 without a quota
	// Problem is why the quota is not kept to; "" when it is.
	Problem string `json:"problem,omitempty"`
}

// States lists the shares with what their folders hold.
func (b *ShareBook) States() []ShareState {
	var list []ShareState
	unlimited := b.Unlimited()
	for _, s := range b.List() {
		st := ShareState{ShareSpec: s}
		if err := unlimited[s.Name]; err != nil {
			st.Problem = fmt.Sprintf("served without its quota: %v", err)
		}
		if sh := b.srv.Share(s.Name); sh != nil && sh.Tree != nil && s.Quota > 0 && s.Snapshot == "" {
			space, _ := sh.Tree.Space()
			st.QuotaUsed = space.Used
		}
		list = append(list, st)
	}
	return list
}

// tree makes the share's window on its folder, or on what that was in a snapshot.
func (b *ShareBook) tree(s ShareSpec) (*object.Tree, error) {
	opt := object.TreeOptions{Share: s.Name, ReadOnly: s.ReadOnly, ContinuouslyAvailable: s.CA, AccessBasedEnumeration: s.ABE, Compress: s.Compress}
	var tree *object.Tree
	var status ntstatus.Status
	if s.Snapshot != "" {
		snap, err := b.vol.Store().Snapshots().Find(s.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("share %q: %w", s.Name, err)
		}
		node, err := vm.Locate(b.vol.Store(), snap, vm.Clean(s.Path))
		if err != nil {
			return nil, fmt.Errorf("share %q: %w", s.Name, err)
		}
		opt.View, opt.ReadOnly = snap.View, true
		tree, status = b.vol.TreeOf(node, s.Path, opt)
	} else {
		if err := b.makeFolder(s.Path); err != nil {
			return nil, fmt.Errorf("share %q: folder %q: %w", s.Name, s.Path, err)
		}
		tree, status = b.vol.Tree(s.Path, opt)
	}
	if status != ntstatus.Success {
		return nil, fmt.Errorf("share %q: folder %q: %v", s.Name, s.Path, status)
	}
	return tree, nil
}

// Mounted names the share that shows a snapshot, "" without one.
func (b *ShareBook) Mounted(snapshot string) string {
	for _, s := range b.List() {
		if s.Snapshot == snapshot {
			return s.Name
		}
	}
	return ""
}

// makeFolder makes the folders of a path that are missing.
func (b *ShareBook) makeFolder(path string) error {
	if path == "" {
		return nil
	}
	vol := b.vol.Store()
	dir, err := vol.Root(store.Live)
	if err != nil {
		return err
	}
	for _, name := range strings.Split(path, `\`) {
		next, _, err := vol.Open(dir, name)
		if errors.Is(err, store.ErrNotFound) {
			var pos store.Pos
			next, pos, err = vol.Create(dir, name, store.Init{Dir: true})
			if err == nil {
				err = vol.Wait(pos)
			}
		}
		dir.Close()
		if err != nil {
			return err
		}
		dir = next
	}
	dir.Close()
	return nil
}

// security is the share's descriptor: who may connect.
func (b *ShareBook) security(s ShareSpec) (*dtyp.SecurityDescriptor, error) {
	if s.Security != "" {
		return dtyp.ParseSDDL(s.Security, dtyp.SID{})
	}
	if len(s.Allow) == 0 {
		return nil, nil
	}
	var aces []dtyp.ACE
	for _, p := range s.Allow {
		who, err := b.names.ByName(context.Background(), p)
		if err != nil {
			return nil, fmt.Errorf("share %q: allow=%s: %w; a SID always works", s.Name, p, err)
		}
		aces = append(aces, dtyp.ACE{Type: dtyp.AccessAllowed, Mask: dtyp.FileAllAccess, SID: who.SID})
	}
	return &dtyp.SecurityDescriptor{
		Control: dtyp.SelfRelative | dtyp.DACLPresent,
		Owner:   dtyp.BuiltinAdministrators, Group: dtyp.BuiltinAdministrators,
		DACL: dtyp.NewACL(aces...),
	}, nil
}
