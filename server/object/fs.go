package object

import (
	"sync"
	"sync/atomic"
	"time"

	"gabion/protocol/dtyp"
	"gabion/store"
)

// Config are the settings of an FS.
type Config struct {
	Breaker Breaker
	// BreakTimeout is how long a client may take to acknowledge a break; 0 means
	// 35 s ([MS-SMB2] 3.3.2.1, 3.3.2.5).
	BreakTimeout time.Duration
	// Stopped is called when a volume refuses to go on (store.ErrStopped).
	Stopped func(error)
	// Damaged is told of every block that cannot be read.
	Damaged func(*store.CorruptError)
	// Left is told of the path of an empty file or stream that was made for an open which
	// failed, and could not be removed.
	Left func(path string, err error)
	// Panicked is told of a panic where an operation went on after a wait or a timer, for which no
	// connection's goroutine answers; that operation ends. It is called on the goroutine that panicked. Without
	// it the process ends.
	Panicked func(any)
}

// FS is the object store of one server.
type FS struct {
	cfg Config

	breaks atomic.Uint64 // see Breaks

	leaseMu sync.Mutex
	leases  map[leaseID]*grant // guarded by leaseMu

	openMu  sync.Mutex
	durable map[dtyp.GUID]*Open // by CreateGuid; guarded by openMu
	apps    map[dtyp.GUID][]*Open
}

// New makes an FS without volumes.
func New(cfg Config) *FS {
	if cfg.BreakTimeout == 0 {
		cfg.BreakTimeout = 35 * time.Second
	}
	return &FS{
		cfg:     cfg,
		leases:  make(map[leaseID]*grant),
		durable: make(map[dtyp.GUID]*Open),
		apps:    make(map[dtyp.GUID][]*Open),
	}
}

// recovered, deferred, is what Config.Panicked says.
func (fs *FS) recovered() {
	if fs.cfg.Panicked == nil {
		return
	}
	if p := recover(); p != nil {
		fs.cfg.Panicked(p)
	}
}

// now is the current time as clients see it.
func now() dtyp.Filetime { return dtyp.FiletimeOf(time.Now()) }

// left tells of what could not be taken back.
func (fs *FS) left(path string, err error) {
	if fs.cfg.Left != nil {
		fs.cfg.Left(path, err)
	}
}
