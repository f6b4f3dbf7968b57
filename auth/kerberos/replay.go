package kerberos

import (
	"crypto/sha256"
	"sync"
	"time"
)

// replayCache remembers the authenticators that were accepted, for as long as a
// copy of one would pass the check of its time.
//
// They are kept by the minute of their own time stamp, so that forgetting drops
// whole minutes. What is older than the oldest kept minute is refused even if the
// clock is set back.
type replayCache struct {
	skew  time.Duration
	limit int // of all authenticators kept
	share int // of one client's in one minute

	mu      sync.Mutex // guards all below
	minutes map[int64]*replayMinute
	total   int
	floor   int64 // minutes before were forgotten
}

type replayMinute struct {
	seen    map[[16]byte]struct{}
	clients map[[16]byte]int
}

// Bounds of the cache: about 64 MB, and ten thousand logons a minute of one client.
const (
	replayLimit = 1 << 20
	replayShare = 10_000
)

func newReplayCache(skew time.Duration) *replayCache {
	return &replayCache{skew: skew, limit: replayLimit, share: replayShare, minutes: map[int64]*replayMinute{}}
}

type replayVerdict uint8

const (
	replayFresh replayVerdict = iota
	replaySeen
	replayOld  // its minute was forgotten
	replayFull // it could not be remembered, so it must not be accepted
)

func digest(b []byte) [16]byte {
	sum := sha256.Sum256(b)
	return [16]byte(sum[:16])
}

// add remembers an authenticator by its ciphertext, which cannot be altered
// without the ticket's session key and is never the same twice, and judges it.
func (c *replayCache) add(now, stamp time.Time, client string, ciphertext []byte) replayVerdict {
	id, who := digest(ciphertext), digest([]byte(client))
	minute := stamp.Unix() / 60
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(now.Add(-c.skew).Unix() / 60)
	if minute < c.floor {
		return replayOld
	}
	m := c.minutes[minute]
	if m == nil {
		m = &replayMinute{map[[16]byte]struct{}{}, map[[16]byte]int{}}
		c.minutes[minute] = m
	}
	if _, seen := m.seen[id]; seen {
		return replaySeen
	}
	if c.total >= c.limit || m.clients[who] >= c.share {
		return replayFull
	}
	m.seen[id] = struct{}{}
	m.clients[who]++
	c.total++
	return replayFresh
}

// forget drops the minutes before floor.
func (c *replayCache) forget(floor int64) {
	if floor <= c.floor {
		return
	}
	c.floor = floor
	for minute, m := range c.minutes {
		if minute < floor {
			c.total -= len(m.seen)
			delete(c.minutes, minute)
		}
	}
}
