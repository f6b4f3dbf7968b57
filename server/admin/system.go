package admin

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"gabion/auth"
	"gabion/odx"
	arrays "gabion/odx/peer"
	"gabion/rsvd"
	"gabion/server"
	"gabion/server/qos"
	"gabion/server/schedule"
	"gabion/server/versions"
	"gabion/server/vm"
	"gabion/server/watch"
	"gabion/store"
)

// System is what the operations work on: the parts of one running array.
type System struct {
	Version string
	Started time.Time
	Listen  string // where SMB is served
	Server  *server.Server
	Volume  store.Volume
	Users   *auth.Users
	Roles   *auth.Roles
	Names   *auth.Names
	Shares  *ShareBook
	Tokens  *odx.Tokens
	Peers   *arrays.Link
	QoS     *qos.Service // nil: switched off
	Audit   *slog.Logger
	// SyncAudit makes what was written to the audit log durable; nil where that is not a file.
	SyncAudit func() error
	Machines  *vm.Book
	Versions  *versions.Changer
	Disks     *rsvd.Service
	Schedules *schedule.Keeper
	APITokens *auth.APITokens
	Watch     *watch.Watcher // nil: none
	Metrics   http.Handler   // nil: none
	// Verify tests the array's membership of a domain.
	Verify func(ctx context.Context, host string) (any, error)
	// Check verifies the running volume; see block.Check.
	Check func(ctx context.Context) (CheckResult, error)
	// Scrub verifies the volume bit by bit; nil when the engine has none.
	Scrub *Scrubber
	// Stats are the store's inner figures; nil when the engine has none.
	Stats func() any
	// Usage counts what takes the space.
	Usage func() (any, error)
}

// Damage is one finding of a check.
type Damage struct {
	File  string `json:"file"`
	Range string `json:"range"`
	What  string `json:"what"`
}

// CheckResult sums a check up.
type CheckResult struct {
	Clean  bool     `json:"clean"`
	Files  int64    `json:"files"`
	Bytes  int64    `json:"bytes"`
	Damage []Damage `json:"damage"`
}

// Operations is the table. Rows of one noun are together in the file of its name.
func Operations() []Operation {
	var all []Operation
	for _, rows := range [][]Operation{
		statusOperations,
		shareOperations,
		userOperations,
		roleOperations,
		tokenOperations,
		qosOperations,
		machineOperations,
		snapshotOperations,
		restoreOperations,
		scheduleOperations,
		transferOperations,
		offloadOperations, cloneOperations,
		peerOperations,
		diskOperations,
		sessionOperations,
		volumeOperations,
		scrubOperations,
	} {
		all = append(all, rows...)
	}
	return all
}

// NameOf is what a file is called: SHARE/PATH by the share that shows it most closely.
func (s *System) NameOf(id store.FileID) string {
	full, err := vm.RootPath(s.Volume, store.Snapshot{}, id)
	if err != nil {
		return fmt.Sprintf("file %d", id)
	}
	return s.shown(full).String()
}
