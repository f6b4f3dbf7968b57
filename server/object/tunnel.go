package object

import (
	"strings"
	"sync"
	"time"

	"gabion/store"
)

// tunnel is the part of TunnelCacheList ([MS-FSA] 2.1.1.1) that short names need: who
// saves by deleting a file and making it again under the short name it was opened
// by finds it under its long name.
type tunnel struct {
	mu   sync.Mutex
	last [64]tunnelEntry // ring; guarded by mu
	next int             // guarded by mu
}

type tunnelEntry struct {
	dir  store.FileID
	long string
	when time.Time
}

// tunnelTime is how long an entry counts, as on NTFS.
const tunnelTime = 15 * time.Second

// remember notes that a name was taken out of a directory.
func (t *tunnel) remember(dir store.FileID, name string) {
	if is8dot3(name) {
		return
	}
	t.mu.Lock()
	t.last[t.next] = tunnelEntry{dir, name, time.Now()}
	t.next = (t.next + 1) % len(t.last)
	t.mu.Unlock()
}

// recall returns the long name that a short one stood for, short itself if none.
func (t *tunnel) recall(dir store.FileID, short string) string {
	if !computedShort(short) {
		return short
	}
	upper := strings.ToUpper(short)
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.last {
		e := &t.last[i]
		if e.dir == dir && time.Since(e.when) < tunnelTime && ShortName(e.long) == upper {
			return e.long
		}
	}
	return short
}
