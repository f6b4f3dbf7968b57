package block

import (
	"log/slog"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// Options of Open. Only Dir is needed.
type Options struct {
	// Dir is the data directory; Open makes an empty one into a volume.
	Dir string
	// FS is where Dir lies; nil is the operating system's.
	FS vfs.FS
	// SegmentSize of a new volume; 0 is 64 MiB. An existing volume keeps its own.
	SegmentSize int64
	// CacheSize bounds chunk maps and index blocks kept in memory; 0 is 256 MiB.
	CacheSize int64
	// DataCache bounds the data that large reads leave in memory, see DefaultDataCache; 0 is none.
	DataCache int64
	// Capacity in bytes; 0 is what the file system offers.
	Capacity int64
	// Pack compresses what shrinks on every stream; store.Packer says so for one.
	Pack bool
	// Scrub says when and how fast all that lives is verified.
	Scrub ScrubOptions
	// Logger receives what an operator should know; nil discards.
	Logger *slog.Logger
	// Now is the clock; nil is time.Now.
	Now func() time.Time
	// Manual leaves background work (syncing within a second, materialising,
	// removing, cleaning) to calls of Step: deterministic tests.
	Manual bool

	rebuild bool                  // make the index anew (Rebuild)
	leap    func(n uint64) uint64 // tests: seglog.Options.Leap
	held    time.Duration         // tests: in place of heldEvery
}

const (
	defaultSegmentSize = 64 << 20
	defaultCacheSize   = 256 << 20
)

// DefaultDataCache is what a server gives to the cache of data: a sixteenth of the machine's
// memory, 256 MiB at most.
func DefaultDataCache() int64 {
	var info unix.Sysinfo_t
	if err := unix.Sysinfo(&info); err != nil {
		return 64 << 20
	}
	return min(int64(info.Totalram)*int64(info.Unit)/16, 256<<20)
}

// memTable is the size of the index's tables in memory.
func (o Options) memTable() int64 { return min(max(o.CacheSize/8, 1<<20), 64<<20) }

func (o Options) withDefaults() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = defaultSegmentSize
	}
	if o.CacheSize == 0 {
		o.CacheSize = defaultCacheSize
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.held == 0 {
		o.held = heldEvery
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}
