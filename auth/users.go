package auth

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"gabion/protocol/dtyp"
	"gabion/protocol/ntlm"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// Lock-out of an account after failed logons, Windows' defaults since 2022.
const (
	lockoutThreshold = 10
	lockoutWindow    = 10 * time.Minute
)

const (
	userBucket = "users"
	authBucket = "auth"
	sidKey     = "machine-sid"
	ridKey     = "next-rid"
)

var (
	ErrNoUser     = errors.New("no such user")
	ErrUserExists = errors.New("user exists already")
	ErrUserName   = errors.New("a user name has 1 to 20 characters and none of \" / \\ [ ] : ; | = , + * ? < > @")
	ErrPassword   = errors.New("a password has 1 to 127 characters")
	ErrNoGroup    = errors.New("no such group")
)

// Groups are the local groups a user may be put in.
var Groups = map[string]dtyp.SID{
	"Administrators":   dtyp.BuiltinAdministrators,
	"Backup Operators": dtyp.BuiltinBackupOperators,
	"Users":            dtyp.BuiltinUsers,
}

// User is a local account.
type User struct {
	Name     string   `json:"name"`
	SID      dtyp.SID `json:"sid"`
	Groups   []string `json:"groups"`
	Disabled bool     `json:"disabled"`
}

func (u *User) groupSIDs() []dtyp.SID {
	var sids []dtyp.SID
	for _, g := range u.Groups {
		sids = append(sids, Groups[g])
	}
	return sids
}

// account is a User as it is kept.
type account struct {
	User
	Hash []byte `json:"hash"` // sealed ntlm.Hash

	hash     ntlm.Hash
	failures int
	since    time.Time // of the first of failures
	locked   time.Time // until
}

// Users are the local accounts, kept in the volume's side store.
type Users struct {
	vol  store.Volume
	seal cipher.AEAD
	now  func() time.Time

	machine dtyp.SID

	mu      sync.Mutex // guards all below; never held across a store call
	byName  map[string]*account
	nextRID uint32
	editing sync.Mutex // serialises changes of the list; taken before mu
}

// LoadKey reads the key that seals password hashes, making it at the first start.
func LoadKey(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		key = make([]byte, 32)
		_, _ = rand.Read(key)
		return key, writeKey(path, key)
	}
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others (mode %04o); run chmod 600 %s", path, info.Mode().Perm(), path)
	}
	if len(key) != 32 {
		return nil, fmt.Errorf("%s is damaged: %d bytes instead of 32", path, len(key))
	}
	return key, nil
}

func writeKey(path string, key []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(key)
	return errors.Join(err, f.Sync(), f.Close())
}

// OpenUsers reads the accounts of a volume.
func OpenUsers(vol store.Volume, key []byte) (*Users, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	seal, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	u := &Users{vol: vol, seal: seal, now: time.Now, byName: map[string]*account{}}
	if err := u.loadMachine(); err != nil {
		return nil, err
	}
	var bad error
	err = vol.KV().Scan(userBucket, "", func(name string, value []byte) bool {
		a := &account{}
		if bad = json.Unmarshal(value, a); bad == nil {
			bad = u.open(a)
		}
		u.byName[name] = a
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("reading local users: %w", err)
	}
	return u, nil
}

// loadMachine reads, or makes, the SID that local accounts' SIDs begin with.
func (u *Users) loadMachine() error {
	b, err := u.vol.KV().Get(authBucket, sidKey)
	if errors.Is(err, store.ErrNotFound) {
		var sub [12]byte
		_, _ = rand.Read(sub[:])
		part := func(i int) uint32 { return binary.LittleEndian.Uint32(sub[4*i:]) }
		u.machine = dtyp.MakeSID(5, 21, part(0), part(1), part(2))
		u.nextRID = dtyp.RIDFirstLocalAccount
		return u.apply(store.KVEdit{Bucket: authBucket, Key: sidKey, Value: []byte(u.machine.String())}, u.ridEdit(u.nextRID))
	}
	if err != nil {
		return err
	}
	if u.machine, err = dtyp.ParseSID(string(b)); err != nil {
		return err
	}
	b, err = u.vol.KV().Get(authBucket, ridKey)
	if err == nil && len(b) == 4 {
		u.nextRID = binary.LittleEndian.Uint32(b)
	}
	return err
}

func (u *Users) ridEdit(rid uint32) store.KVEdit {
	return store.KVEdit{Bucket: authBucket, Key: ridKey, Value: binary.LittleEndian.AppendUint32(nil, rid)}
}

// apply makes edits durable.
func (u *Users) apply(edits ...store.KVEdit) error {
	pos, err := u.vol.KV().Apply(edits)
	if err != nil {
		return err
	}
	return u.vol.Wait(pos)
}

// open decrypts an account's hash; the name is bound to it.
func (u *Users) open(a *account) error {
	n := u.seal.NonceSize()
	if len(a.Hash) < n {
		return fmt.Errorf("user %s: damaged record", a.Name)
	}
	hash, err := u.seal.Open(nil, a.Hash[:n], a.Hash[n:], []byte(fold(a.Name)))
	if err != nil || len(hash) != len(a.hash) {
		return fmt.Errorf("user %s: the secret key does not fit the record", a.Name)
	}
	copy(a.hash[:], hash)
	return nil
}

func (u *Users) record(a *account) store.KVEdit {
	nonce := make([]byte, u.seal.NonceSize())
	_, _ = rand.Read(nonce)
	a.Hash = u.seal.Seal(nonce, nonce, a.hash[:], []byte(fold(a.Name)))
	b, err := json.Marshal(a)
	if err != nil {
		panic("auth: an account cannot be encoded: " + err.Error())
	}
	return store.KVEdit{Bucket: userBucket, Key: fold(a.Name), Value: b}
}

func fold(name string) string { return strings.ToUpper(name) }

// Machine is the SID that local accounts' SIDs begin with.
func (u *Users) Machine() dtyp.SID { return u.machine }

// List returns the users by name.
func (u *Users) List() []User {
	u.mu.Lock()
	defer u.mu.Unlock()
	list := make([]User, 0, len(u.byName))
	for _, a := range u.byName {
		list = append(list, a.User)
	}
	slices.SortFunc(list, func(a, b User) int { return strings.Compare(fold(a.Name), fold(b.Name)) })
	return list
}

// Find returns the user of that name, ignoring case.
func (u *Users) Find(name string) (User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if a := u.byName[fold(name)]; a != nil {
		return a.User, nil
	}
	return User{}, fmt.Errorf("%q: %w", name, ErrNoUser)
}

// FindSID returns the user with that SID.
func (u *Users) FindSID(sid dtyp.SID) (User, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, a := range u.byName {
		if a.SID == sid {
			return a.User, nil
		}
	}
	return User{}, fmt.Errorf("%v: %w", sid, ErrNoUser)
}

func checkName(name string) error {
	bad := func(r rune) bool { return unicode.IsControl(r) || strings.ContainsRune(`"/\[]:;|=,+*?<>@`, r) }
	if n := utf8.RuneCountInString(name); n < 1 || n > 20 || strings.ContainsFunc(name, bad) || strings.Trim(name, ". ") == "" {
		return fmt.Errorf("%q: %w", name, ErrUserName)
	}
	return nil
}

func checkPassword(password string) error {
	if n := utf8.RuneCountInString(password); n < 1 || n > 127 {
		return ErrPassword
	}
	return nil
}

func checkGroups(groups []string) ([]string, error) {
	var out []string
	for _, g := range groups {
		known := ""
		for name := range Groups {
			if strings.EqualFold(name, g) {
				known = name
			}
		}
		if known == "" {
			return nil, fmt.Errorf("%q: %w; there are Administrators, Backup Operators and Users", g, ErrNoGroup)
		}
		if !slices.Contains(out, known) {
			out = append(out, known)
		}
	}
	slices.Sort(out)
	return out, nil
}

// Add makes a user, durably.
func (u *Users) Add(name, password string, groups ...string) (User, error) {
	groups, err := checkGroups(groups)
	if err = errors.Join(checkName(name), checkPassword(password), err); err != nil {
		return User{}, err
	}
	u.editing.Lock()
	defer u.editing.Unlock()
	u.mu.Lock()
	taken, rid := u.byName[fold(name)] != nil, u.nextRID
	u.mu.Unlock()
	if taken {
		return User{}, fmt.Errorf("%q: %w", name, ErrUserExists)
	}
	a := &account{User: User{Name: name, SID: u.machine.WithRID(rid), Groups: groups}, hash: ntlm.HashPassword(password)}
	if err := u.apply(u.record(a), u.ridEdit(rid+1)); err != nil {
		return User{}, err
	}
	u.mu.Lock()
	u.byName[fold(name)], u.nextRID = a, rid+1
	u.mu.Unlock()
	return a.User, nil
}

// edit changes a copy of an account, durably, and puts it in place.
func (u *Users) edit(name string, change func(a *account) error) error {
	u.editing.Lock()
	defer u.editing.Unlock()
	u.mu.Lock()
	old := u.byName[fold(name)]
	var a account
	if old != nil {
		a = *old
	}
	u.mu.Unlock()
	if old == nil {
		return fmt.Errorf("%q: %w", name, ErrNoUser)
	}
	if err := change(&a); err != nil {
		return err
	}
	if err := u.apply(u.record(&a)); err != nil {
		return err
	}
	u.mu.Lock()
	u.byName[fold(name)] = &a
	u.mu.Unlock()
	return nil
}

// SetPassword changes a password and ends a lock-out.
func (u *Users) SetPassword(name, password string) error {
	if err := checkPassword(password); err != nil {
		return err
	}
	return u.edit(name, func(a *account) error {
		a.hash, a.failures, a.locked = ntlm.HashPassword(password), 0, time.Time{}
		return nil
	})
}

// SetGroups replaces a user's groups.
func (u *Users) SetGroups(name string, groups []string) error {
	groups, err := checkGroups(groups)
	if err != nil {
		return err
	}
	return u.edit(name, func(a *account) error { a.Groups = groups; return nil })
}

// SetDisabled locks a user out for good, or lets it in again.
func (u *Users) SetDisabled(name string, disabled bool) error {
	return u.edit(name, func(a *account) error {
		a.Disabled, a.failures, a.locked = disabled, 0, time.Time{}
		return nil
	})
}

// Remove deletes a user, durably. Its SID is never given to another.
func (u *Users) Remove(name string) error {
	u.editing.Lock()
	defer u.editing.Unlock()
	u.mu.Lock()
	known := u.byName[fold(name)] != nil
	u.mu.Unlock()
	if !known {
		return fmt.Errorf("%q: %w", name, ErrNoUser)
	}
	if err := u.apply(store.KVEdit{Bucket: userBucket, Key: fold(name)}); err != nil {
		return err
	}
	u.mu.Lock()
	delete(u.byName, fold(name))
	u.mu.Unlock()
	return nil
}

// verify runs a proof against a user's hash. Unknown users are proved against a
// hash of nobody's, so that they take as long and look the same.
func (u *Users) verify(name string, proof func(ntlm.Hash) ([16]byte, bool)) ([16]byte, User, error) {
	now := u.now()
	u.mu.Lock()
	a := u.byName[fold(name)]
	hash, locked := ntlm.Hash{}, false
	if a != nil {
		hash, locked = a.hash, now.Before(a.locked)
	}
	u.mu.Unlock()
	base, ok := proof(hash)
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case a == nil:
		return base, User{}, ntstatus.LogonFailure
	case locked:
		return base, User{}, ntstatus.AccountLockedOut
	case !ok:
		a.fail(now)
		return base, User{}, ntstatus.LogonFailure
	case a.Disabled:
		return base, User{}, ntstatus.AccountDisabled
	}
	a.failures = 0
	return base, a.User, nil
}

func (a *account) fail(now time.Time) {
	if now.Sub(a.since) > lockoutWindow {
		a.failures, a.since = 0, now
	}
	if a.failures++; a.failures >= lockoutThreshold {
		a.failures, a.locked = 0, now.Add(lockoutWindow)
	}
}

// passwordAlphabet leaves out what is easily mistaken.
const passwordAlphabet = "abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"

// GeneratePassword makes a password of 20 characters, 116 bits.
func GeneratePassword() string {
	var b strings.Builder
	for b.Len() < 20 {
		var r [1]byte
		_, _ = rand.Read(r[:])
		if int(r[0]) < 256/len(passwordAlphabet)*len(passwordAlphabet) {
			b.WriteByte(passwordAlphabet[int(r[0])%len(passwordAlphabet)])
		}
	}
	return b.String()
}
