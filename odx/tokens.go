package odx

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"gabion/protocol/dtyp"
	"gabion/store"
)

const (
	// DefaultTTL is how long a token lives without being used, if the client does not
	// say; a copy of any length renews it as it goes.
	DefaultTTL = 5 * time.Minute
	// MinTTL and MaxTTL bound what the client says.
	MinTTL = time.Second
	MaxTTL = time.Hour
	// MaxLife bounds a token's life, however it is used.
	MaxLife = 24 * time.Hour
	// maxPerUser keeps one user from driving out everybody's tokens: the user's own
	// oldest goes first.
	maxPerUser = store.MaxPins / 4

	bucket = "odx"
)

// Issuer is who got a token and of what, for the audit and for administrators.
type Issuer struct {
	User string `json:"user"`
	SID  string `json:"sid"`
	From string `json:"from"`
	File string `json:"file"` // SHARE\path
}

// note is what a pin remembers of its token.
type note struct {
	Issuer
	TTL    time.Duration `json:"ttl"`
	Length int64         `json:"length"` // what the token stands for: a multiple of the sector
}

// Info is a token as administrators see it.
type Info struct {
	ID      string    `json:"id"`
	User    string    `json:"user"`
	File    string    `json:"file"`
	From    string    `json:"from"`
	Offset  int64     `json:"offset"`
	Length  int64     `json:"length"`
	Issued  time.Time `json:"issued"`
	Expires time.Time `json:"expires"`
}

// Tokens are the tokens of one volume.
type Tokens struct {
	vol   store.Volume
	array ArrayID
	key   key
	now   func() time.Time
	// Peers fetches what other arrays' tokens stand for; nil: no token but the array's own
	// is known.
	peers Peers
}

// Open reads the array's key from a volume, or makes one at the first start.
func Open(vol store.Volume, array ArrayID, peers Peers) (*Tokens, error) {
	t := &Tokens{vol: vol, array: array, now: time.Now, peers: peers}
	secret, err := Secret(vol, "token-key", func() ([]byte, error) {
		b := make([]byte, len(t.key))
		_, err := rand.Read(b)
		return b, err
	})
	if err == nil && len(secret) != len(t.key) {
		err = errors.New("malformed key")
	}
	if err != nil {
		return nil, fmt.Errorf("offload tokens: %w", err)
	}
	copy(t.key[:], secret)
	return t, nil
}

// Secret returns what is kept under a name in the volume's side store; at the first time it is
// made and made durable.
func Secret(vol store.Volume, name string, generate func() ([]byte, error)) ([]byte, error) {
	b, err := vol.KV().Get(bucket, name)
	if !errors.Is(err, store.ErrNotFound) {
		return b, err
	}
	if b, err = generate(); err != nil {
		return nil, err
	}
	pos, err := vol.KV().Apply([]store.KVEdit{{Bucket: bucket, Key: name, Value: b}})
	if err == nil {
		err = vol.Wait(pos)
	}
	return b, err
}

// Issue makes a token for length bytes of s from off on, which may reach into the
// sector that its end lies in.
func (t *Tokens) Issue(s store.Stream, off, length int64, ttl time.Duration, by Issuer) (Token, Info, store.Pos, error) {
	if ttl == 0 {
		ttl = DefaultTTL
	}
	ttl = min(max(ttl, MinTTL), MaxTTL)
	b := body{array: t.array, volume: t.vol.Info().GUID, length: uint64(length)}
	if _, err := rand.Read(b.number[:]); err != nil {
		return Token{}, Info{}, 0, err
	}
	n := note{Issuer: by, TTL: ttl, Length: length}
	text, err := json.Marshal(&n)
	if err != nil {
		return Token{}, Info{}, 0, err
	}
	if err := t.makeRoom(by.SID); err != nil {
		return Token{}, Info{}, 0, err
	}
	p := store.Pin{ID: pinOf(b.number), Range: store.Range{Off: off, Len: min(length, s.Sizes().Size-off)},
		Expires: dtyp.FiletimeOf(t.now().Add(ttl)), Note: text}
	p, pos, err := t.vol.Pins().Add(p, s)
	if err != nil {
		return Token{}, Info{}, 0, err
	}
	return t.key.seal(&b), infoOf(p, &n), pos, nil
}

// makeRoom releases the oldest tokens of a user who has too many.
func (t *Tokens) makeRoom(sid string) error {
	list, err := t.vol.Pins().List()
	if err != nil || len(list) < maxPerUser {
		return err
	}
	var own []store.PinID
	for _, p := range list {
		var n note
		if json.Unmarshal(p.Note, &n) == nil && n.SID == sid {
			own = append(own, p.ID)
		}
	}
	for ; len(own) >= maxPerUser; own = own[1:] {
		if _, err := t.vol.Pins().Release(own[0]); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return nil
}

// handle is what administrators call a token by: a part of the pin's name.
func handle(id store.PinID) string { return hex.EncodeToString(id[:8]) }

func infoOf(p store.Pin, n *note) Info {
	return Info{ID: handle(p.ID), User: n.User, File: n.File, From: n.From, Offset: p.Range.Off, Length: n.Length,
		Issued: p.Taken.Time(), Expires: p.Expires.Time()}
}

// Source is what a token stands for, open for reading. Exactly one of Zero, Stream and
// Remote is set.
type Source struct {
	Info   Info // of a local token
	Length int64
	Zero   bool
	Stream store.Stream // what was pinned, in the stream's own offsets
	Off    int64        // where in Stream it begins
	Remote Remote
}

// Close lets go of it.
func (s *Source) Close() {
	if s.Stream != nil {
		s.Stream.Close()
	}
}

// ReadAt fills p with what the token stands for from off on; what is past its data is zero.
func (s *Source) ReadAt(p []byte, off int64) error {
	n, err := s.Stream.ReadAt(p, s.Off+off)
	if err == io.EOF {
		err = nil
	}
	clear(p[n:])
	return err
}

// Open finds what a token stands for: ErrInvalid if that is nothing, ErrUnreachable if it
// is with an array that does not answer.
func (t *Tokens) Open(token []byte) (*Source, error) {
	p, err := parse(token)
	if err != nil {
		return nil, err
	}
	switch {
	case p.zero:
		return &Source{Zero: true}, nil
	case p.array != t.array:
		return t.foreign(p, token)
	}
	return t.own(p)
}

// Own is Open for tokens of this array only: what another array may ask for.
func (t *Tokens) Own(token []byte) (*Source, error) {
	p, err := parse(token)
	if err != nil || p.zero || p.array != t.array {
		return nil, ErrInvalid
	}
	return t.own(p)
}

func (t *Tokens) own(p *parsed) (*Source, error) {
	if !t.key.verify(p) || p.volume != t.vol.Info().GUID {
		return nil, ErrInvalid
	}
	pin, s, err := t.vol.Pins().Use(pinOf(p.number))
	if errors.Is(err, store.ErrNotFound) {
		return nil, ErrInvalid
	}
	if err != nil {
		return nil, err
	}
	var n note
	if err := json.Unmarshal(pin.Note, &n); err != nil || uint64(n.Length) != p.length {
		s.Close()
		return nil, ErrInvalid
	}
	t.renew(pin, &n)
	return &Source{Info: infoOf(pin, &n), Length: n.Length, Stream: s, Off: pin.Range.Off}, nil
}

// renew moves the end of a token's life when half of it is over.
func (t *Tokens) renew(p store.Pin, n *note) {
	now := t.now()
	until := now.Add(n.TTL)
	if last := p.Taken.Time().Add(MaxLife); until.After(last) {
		until = last
	}
	if p.Expires.Time().Sub(now) > n.TTL/2 || !until.After(p.Expires.Time()) {
		return
	}
	// Losing it costs a token, not data: nobody waits for it, and what fails is left.
	_, _ = t.vol.Pins().Renew(p.ID, dtyp.FiletimeOf(until))
}

// List returns the tokens that are valid, oldest first.
func (t *Tokens) List() ([]Info, error) {
	list, err := t.vol.Pins().List()
	if err != nil {
		return nil, err
	}
	out := make([]Info, 0, len(list))
	for _, p := range list {
		var n note
		if err := json.Unmarshal(p.Note, &n); err == nil {
			out = append(out, infoOf(p, &n))
		}
	}
	return out, nil
}

// ErrNoToken: nothing to revoke.
var ErrNoToken = errors.New("there is no such token")

// Revoke ends the token with an id of List, or all with "".
func (t *Tokens) Revoke(id string) (revoked int, err error) {
	list, err := t.vol.Pins().List()
	if err != nil {
		return 0, err
	}
	var last store.Pos
	for _, p := range list {
		if id != "" && handle(p.ID) != id {
			continue
		}
		pos, err := t.vol.Pins().Release(p.ID)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return revoked, err
		}
		revoked++
		last = max(last, pos)
	}
	if revoked == 0 && id != "" {
		return 0, ErrNoToken
	}
	return revoked, t.vol.Wait(last)
}
