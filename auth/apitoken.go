package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"gabion/store"
)

// APIToken lets a program administer the array: whoever shows its secret holds a role at a scope.
// What is kept of the secret is a hash; it has 256 random bits, so the hash needs no salt.
type APIToken struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Role    Role      `json:"role"`
	Scope   Scope     `json:"scope"`
	Made    time.Time `json:"made"`
	Expires time.Time `json:"expires"`
	By      string    `json:"by"`
	Hash    []byte    `json:"hash,omitempty"`
}

// Held are the roles that the token gives at a scope.
func (t *APIToken) Held(at Scope) RoleSet {
	if t.Scope.Contains(at) {
		return RolesOf(t.Role)
	}
	return 0
}

var (
	ErrNoToken = errors.New("there is no such token")
	// ErrBadToken is the answer to a secret that is wrong, revoked or expired.
	ErrBadToken = errors.New("the token is not valid")
)

const (
	tokenBucket = "api-tokens"
	tokenPrefix = "gabion_"
	// MaxTokenTime bounds how long a token is valid.
	MaxTokenTime = 366 * 24 * time.Hour
	maxTokens    = 10000
)

// APITokens are the tokens of a volume, in its side store. It is safe for concurrent use.
type APITokens struct {
	vol store.Volume
	now func() time.Time

	mu  sync.RWMutex // guards all
	all map[string]*APIToken
}

// OpenAPITokens reads a volume's tokens; now is the clock, time.Now if nil.
func OpenAPITokens(vol store.Volume, now func() time.Time) (*APITokens, error) {
	if now == nil {
		now = time.Now
	}
	a := &APITokens{vol: vol, now: now, all: map[string]*APIToken{}}
	var bad error
	err := vol.KV().Scan(tokenBucket, "", func(key string, value []byte) bool {
		t := new(APIToken)
		bad = json.Unmarshal(value, t)
		a.all[key] = t
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("API tokens: %w", err)
	}
	return a, nil
}

// Create makes a token and returns its secret, which is not kept.
func (a *APITokens) Create(name string, role Role, scope Scope, valid time.Duration, by string) (secret string, t APIToken, err error) {
	switch {
	case !role.valid():
		return "", t, fmt.Errorf("auth: cannot give %v to a token", role)
	case valid <= 0 || valid > MaxTokenTime:
		return "", t, fmt.Errorf("a token is valid for up to 366 days, not %v", valid)
	case name == "" || len(name) > 200:
		return "", t, fmt.Errorf("%q cannot name a token", name)
	}
	scope, err = ParseScope(string(scope))
	if err != nil {
		return "", t, err
	}
	var id [8]byte
	var key [32]byte
	_, _ = rand.Read(id[:]) // never fails
	_, _ = rand.Read(key[:])
	now := a.now().UTC().Truncate(time.Second)
	t = APIToken{ID: hex.EncodeToString(id[:]), Name: name, Role: role, Scope: scope, Made: now, Expires: now.Add(valid), By: by}
	secret = tokenPrefix + t.ID + "_" + base64.RawURLEncoding.EncodeToString(key[:])
	hash := sha256.Sum256([]byte(secret))
	kept := t
	kept.Hash = hash[:]
	a.mu.Lock()
	defer a.mu.Unlock()
	edits := a.expired(now)
	if len(a.all)-len(edits) >= maxTokens {
		return "", t, fmt.Errorf("there are %d tokens already", len(a.all))
	}
	value, err := json.Marshal(&kept)
	if err != nil {
		return "", t, err
	}
	if err := a.apply(append(edits, store.KVEdit{Bucket: tokenBucket, Key: t.ID, Value: value})); err != nil {
		return "", t, err
	}
	for _, e := range edits {
		delete(a.all, e.Key)
	}
	a.all[t.ID] = &kept
	return secret, t, nil
}

// expired are the edits that forget what is not valid any more. Caller holds mu.
func (a *APITokens) expired(now time.Time) (edits []store.KVEdit) {
	for id, t := range a.all {
		if !now.Before(t.Expires) {
			edits = append(edits, store.KVEdit{Bucket: tokenBucket, Key: id})
		}
	}
	return edits
}

func (a *APITokens) apply(edits []store.KVEdit) error {
	pos, err := a.vol.KV().Apply(edits)
	if err != nil {
		return err
	}
	return a.vol.Wait(pos)
}

// Check returns the token that a secret is of.
func (a *APITokens) Check(secret string) (*APIToken, error) {
	rest, ok := strings.CutPrefix(secret, tokenPrefix)
	id, _, ok2 := strings.Cut(rest, "_")
	if !ok || !ok2 || len(secret) > 200 {
		return nil, ErrBadToken
	}
	a.mu.RLock()
	t := a.all[id]
	a.mu.RUnlock()
	hash := sha256.Sum256([]byte(secret))
	if t == nil || subtle.ConstantTimeCompare(hash[:], t.Hash) != 1 || !a.now().Before(t.Expires) {
		return nil, ErrBadToken
	}
	return t, nil
}

// List returns the tokens without their hashes, oldest first.
func (a *APITokens) List() []APIToken {
	a.mu.RLock()
	defer a.mu.RUnlock()
	list := []APIToken{}
	for _, t := range a.all {
		c := *t
		c.Hash = nil
		list = append(list, c)
	}
	slices.SortFunc(list, func(x, y APIToken) int {
		if c := x.Made.Compare(y.Made); c != 0 {
			return c
		}
		return strings.Compare(x.ID, y.ID)
	})
	return list
}

// Revoke makes a token worthless, durably.
func (a *APITokens) Revoke(id string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all[id] == nil {
		return fmt.Errorf("token %q: %w", id, ErrNoToken)
	}
	if err := a.apply([]store.KVEdit{{Bucket: tokenBucket, Key: id}}); err != nil {
		return err
	}
	delete(a.all, id)
	return nil
}
