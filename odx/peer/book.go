package peer

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"gabion/odx"
	"gabion/store"
)

// Peer is another array that this one trusts.
type Peer struct {
	Name        string    `json:"name"`
	Fingerprint string    `json:"fingerprint"`
	Address     string    `json:"address"` // where it serves peers; "" if this array fetches nothing from it
	Added       time.Time `json:"added"`
}

var (
	ErrNoPeer     = errors.New("there is no such peer")
	ErrPeerExists = errors.New("there is a peer of that name or fingerprint already")
	ErrSelf       = errors.New("that is this array's own fingerprint")
)

const bucket = "peers"

// Book keeps the peers in the volume's side store.
type Book struct {
	vol  store.Volume
	self Fingerprint

	editing sync.Mutex // serialises changes

	mu    sync.RWMutex
	peers []Peer                  // by name; guarded by mu
	known map[Fingerprint]int     // index into peers; guarded by mu
	links map[Fingerprint]*client // guarded by mu
	dial  func(Fingerprint, string) *client
}

// openBook reads the peers of a volume.
func openBook(vol store.Volume, self Fingerprint, dial func(Fingerprint, string) *client) (*Book, error) {
	b := &Book{vol: vol, self: self, links: map[Fingerprint]*client{}, dial: dial}
	var list []Peer
	var bad error
	err := vol.KV().Scan(bucket, "", func(_ string, value []byte) bool {
		var p Peer
		bad = json.Unmarshal(value, &p)
		list = append(list, p)
		return bad == nil
	})
	if err = errors.Join(err, bad); err != nil {
		return nil, fmt.Errorf("peers: %w", err)
	}
	b.set(list)
	return b, nil
}

// set replaces the list. Caller holds mu, or opens the book.
func (b *Book) set(list []Peer) {
	slices.SortFunc(list, func(x, y Peer) int { return strings.Compare(x.Name, y.Name) })
	b.peers, b.known = list, map[Fingerprint]int{}
	for i, p := range list {
		if f, err := ParseFingerprint(p.Fingerprint); err == nil {
			b.known[f] = i
		}
	}
	for f, l := range b.links {
		if i, ok := b.known[f]; !ok || list[i].Address != l.address {
			l.close()
			delete(b.links, f)
		}
	}
}

// List returns the peers by name.
func (b *Book) List() []Peer {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return slices.Clone(b.peers)
}

// trusts reports whether a peer has a fingerprint, and its name.
func (b *Book) trusts(f Fingerprint) (string, bool) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	i, ok := b.known[f]
	if !ok {
		return "", false
	}
	return b.peers[i].Name, true
}

// Add trusts an array from now on. address is HOST:PORT, or "".
func (b *Book) Add(name, fingerprint, address string) (Peer, error) {
	f, err := ParseFingerprint(fingerprint)
	if err != nil {
		return Peer{}, err
	}
	if f == b.self {
		return Peer{}, ErrSelf
	}
	if address != "" {
		if _, _, err := net.SplitHostPort(address); err != nil {
			return Peer{}, fmt.Errorf("%q is not HOST:PORT", address)
		}
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == '/' }) {
		return Peer{}, fmt.Errorf("%q cannot name a peer: 1 to 64 characters without blanks and slashes", name)
	}
	p := Peer{Name: name, Fingerprint: f.String(), Address: address, Added: time.Now().UTC().Truncate(time.Second)}
	value, err := json.Marshal(&p)
	if err != nil {
		return Peer{}, err
	}
	b.editing.Lock()
	defer b.editing.Unlock()
	list := b.List()
	if _, taken := b.trusts(f); taken || slices.ContainsFunc(list, func(o Peer) bool { return strings.EqualFold(o.Name, name) }) {
		return Peer{}, ErrPeerExists
	}
	if err := b.keep(name, value); err != nil {
		return Peer{}, err
	}
	b.replace(append(list, p))
	return p, nil
}

// Remove trusts an array no more; what it fetches just now comes to its end.
func (b *Book) Remove(name string) error {
	b.editing.Lock()
	defer b.editing.Unlock()
	list := b.List()
	i := slices.IndexFunc(list, func(p Peer) bool { return strings.EqualFold(p.Name, name) })
	if i < 0 {
		return ErrNoPeer
	}
	if err := b.keep(list[i].Name, nil); err != nil {
		return err
	}
	b.replace(slices.Delete(list, i, i+1))
	return nil
}

// replace is set for a book in use.
func (b *Book) replace(list []Peer) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.set(list)
}

// keep writes a record and waits for it.
func (b *Book) keep(name string, value []byte) error {
	pos, err := b.vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: strings.ToUpper(name), Value: value}})
	if err == nil {
		err = b.vol.Wait(pos)
	}
	return err
}

// Remote implements odx.Peers.
func (b *Book) Remote(id odx.ArrayID) odx.Fetcher {
	b.mu.Lock()
	defer b.mu.Unlock()
	for f, i := range b.known {
		if f.Array() != id {
			continue
		}
		l := b.links[f]
		if l == nil {
			l = b.dial(f, b.peers[i].Address)
			b.links[f] = l
		}
		return l
	}
	return nil
}

// close ends all connections.
func (b *Book) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for f, l := range b.links {
		l.close()
		delete(b.links, f)
	}
}
