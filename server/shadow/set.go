package shadow

import (
	"strings"
	"time"

	"gabion/protocol/dtyp"
	"gabion/protocol/fsrvp"
	"gabion/store"
)

// Status of a set (MS-FSRVP 3.1.1.2).
type Status uint8

const (
	Started Status = iota
	Added
	CreationInProgress
	Committed
	Exposed
	Recovered
)

// Set is a ShadowCopySet (MS-FSRVP 3.1.1.2).
type Set struct {
	ID        dtyp.GUID
	Status    Status
	Context   fsrvp.Context
	Copies    []*Copy
	Recovered time.Time // when it became so

	job *job
}

// Copy is a ShadowCopy and its one MappedShare (MS-FSRVP 3.1.1.3, 3.1.1.4): the volumes of
// the protocol are the folders of shares here, so that a set can hold several.
type Copy struct {
	ID     dtyp.GUID
	UNC    string // ShareName as the client wrote it
	Share  string
	Folder store.FileID

	Created  dtyp.Filetime
	View     store.View // the snapshot, 0 before Commit
	Exposed  string     // name of the share that shows it, "" before Expose
	Writable bool       // the exposed share shows a clone
}

// exposedName is ShadowCopyShareName (MS-FSRVP 3.1.4.6).
func (c *Copy) exposedName() string {
	base, hidden := strings.CutSuffix(c.Share, "$")
	name := base + "@{" + strings.ToLower(c.ID.String()) + "}"
	if hidden {
		return base + "$@{" + strings.ToLower(c.ID.String()) + "}$"
	}
	return name
}

// clone copies a set for a job.
func (s *Set) clone() *Set {
	n := *s
	n.job, n.Copies = nil, make([]*Copy, len(s.Copies))
	for i, c := range s.Copies {
		own := *c
		n.Copies[i] = &own
	}
	return &n
}

// copyOf finds a copy by its id.
func (s *Set) copyOf(id dtyp.GUID) *Copy {
	for _, c := range s.Copies {
		if c.ID == id {
			return c
		}
	}
	return nil
}

// shareOf takes \\host\share apart. The host is whoever the client took us for: nothing is
// ever sent to it.
func shareOf(unc string) (share string, ok bool) {
	rest, ok := strings.CutPrefix(unc, `\\`)
	host, share, found := strings.Cut(strings.TrimSuffix(rest, `\`), `\`)
	return share, ok && found && host != "" && share != "" && !strings.ContainsAny(share, `\/`)
}
