package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"gabion/auth"
	"gabion/protocol/dtyp"
	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
	"gabion/rsvd"
	"gabion/rsvd/vhdx"
	"gabion/server/object"
	"gabion/store"
)

var diskParam = Param{Name: "target", Positional: true, Required: true, Help: "SHARE/PATH of a .vhdx or .vhds file"}

var diskOperations = []Operation{{
	Name: "reservation list", Method: "GET", Path: "/v1/reservations", Role: auth.RoleReadOnly,
	Summary: "List the shared virtual disks that are open or reserved, and who holds them",
	Example: "gabion reservation list --json",
	Run:     listReservations,
}, {
	Name: "reservation clear", Method: "DELETE", Path: "/v1/reservations", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Take all registrations and the reservation of a shared disk away; its guests are told",
	Example: "gabion reservation clear vms/cluster/witness.vhdx",
	Params:  []Param{diskParam},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		d, err := s.disk(c.Str("target"))
		if err != nil {
			return nil, err
		}
		defer d.close()
		id, err := d.payload()
		if err != nil {
			return nil, diskRefusal(c.Str("target"), err)
		}
		pos, err := s.Disks.ClearReservations(s.Volume, id)
		if err != nil {
			return nil, err
		}
		return nil, s.Volume.Wait(pos)
	},
}, {
	Name: "vhd info", Method: "GET", Path: "/v1/vhd", Role: auth.RoleReadOnly,
	Summary: "Describe a virtual disk",
	Example: "gabion vhd info vms/cluster/witness.vhdx",
	Params:  []Param{diskParam},
	Run:     diskInfo,
}, {
	Name: "vhd check", Method: "GET", Path: "/v1/vhd/check", Role: auth.RoleReadOnly,
	Summary: "Verify the structure of a virtual disk and of its parents",
	Example: "gabion vhd check vms/cluster/witness.vhdx",
	Params:  []Param{diskParam},
	Run:     checkDisk,
}, {
	Name: "vhd create", Method: "POST", Path: "/v1/vhd", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Make an empty virtual disk; with a name in .vhds a VHD set",
	Example: "gabion vhd create vms/cluster/data.vhds 100G --fixed",
	Params: []Param{diskParam,
		{Name: "size", Positional: true, Required: true, Help: "its size, such as 100G"},
		{Name: "fixed", Kind: Bool, Help: "all blocks have their place from the start"},
		{Name: "sector", Kind: Number, Help: "logical sector size, 512 (default) or 4096"}},
	Run: createDisk,
}, {
	Name: "vhd convert", Method: "POST", Path: "/v1/vhd/convert", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Copy a virtual disk nobody uses into a fixed or dynamic one, or make a VHD set of it",
	Example: "gabion vhd convert vms/a.vhdx vms/a-fixed.vhdx --fixed\n  gabion vhd convert vms/a.vhdx vms/a.vhds",
	Params: []Param{{Name: "source", Positional: true, Required: true, Help: "SHARE/PATH of the disk"},
		{Name: "target", Positional: true, Required: true, Help: "SHARE/PATH of the new one; in .vhds, and the same folder, the disk becomes that set's"},
		{Name: "fixed", Kind: Bool, Help: "make a fixed disk; otherwise a dynamic one"}},
	Run: convertDisk,
}}

// Reservation is a shared disk as administrators see it.
type Reservation struct {
	Disk        string         `json:"disk"`
	File        uint64         `json:"file"`
	Opens       int            `json:"opens"`
	Type        string         `json:"type"`
	Holder      string         `json:"holder"`
	Generation  uint32         `json:"generation"`
	Persistent  bool           `json:"persistent"` // APTPL
	Registrants []Registration `json:"registrants"`
}

// Registration is one registered initiator.
type Registration struct {
	Initiator string `json:"initiator"`
	Host      string `json:"host"` // as its last open said
	Key       string `json:"key"`
}

func listReservations(_ context.Context, s *System, _ *Call) (any, error) {
	disks, err := s.Disks.Reservations(s.Volume)
	if err != nil {
		return nil, err
	}
	out := make([]Reservation, len(disks))
	for i, d := range disks {
		st := d.Reservations
		r := Reservation{Disk: s.pathOf(d.File), File: uint64(d.File), Opens: d.Opens, Type: st.Type.String(), Generation: st.Generation, Persistent: st.APTPL,
			Registrants: []Registration{}}
		hosts := map[dtyp.GUID]string{}
		for _, o := range d.Initiators {
			hosts[o.ID] = o.Host
		}
		var holders []string
		for _, g := range st.Registrations {
			r.Registrants = append(r.Registrants, Registration{g.Initiator.String(), hosts[g.Initiator], fmt.Sprintf("%#x", g.Key)})
			if st.Holds(g.Initiator) {
				holders = append(holders, g.Initiator.String())
			}
		}
		r.Holder = strings.Join(holders, " ")
		out[i] = r
	}
	return out, nil
}

// pathOf is a path of a file from the volume's root.
func (s *System) pathOf(id store.FileID) string {
	path := ""
	for id != store.RootID {
		n, err := s.Volume.OpenID(store.Live, id)
		if err != nil {
			return path
		}
		names, err := n.Names()
		n.Close()
		if err != nil || len(names) == 0 {
			return path
		}
		path, id = strings.TrimSuffix(names[0].Name+"/"+path, "/"), names[0].Parent
	}
	return path
}

// diskFile is a file that is, or is to be, a virtual disk.
type diskFile struct {
	s         *System
	tree      *object.Tree
	path      string // in the tree
	name      string
	node, dir store.Node // node is nil when there is no such file
}

func (d *diskFile) close() {
	if d.node != nil {
		d.node.Close()
	}
	d.dir.Close()
}

func (d *diskFile) folder() rsvd.StoreFolder { return rsvd.StoreFolder{Volume: d.s.Volume, Dir: d.dir} }

// place finds the folder of SHARE/PATH, and the file if there is one.
func (s *System) place(text string) (*diskFile, error) {
	share, path, _ := strings.Cut(slashed(text), "/")
	spec, ok := s.Shares.Find(share)
	sh := s.Server.Share(share)
	if !ok || sh == nil || path == "" {
		return nil, Errorf(http.StatusBadRequest, "%q is not SHARE/PATH of a file", text)
	}
	d := &diskFile{s: s, tree: sh.Tree, path: strings.ReplaceAll(path, "/", `\`)}
	folder := ""
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		folder, path = path[:i], path[i+1:]
	}
	d.name = path
	var err error
	if d.dir, err = walk(s.Volume, slashed(spec.Path)+"/"+folder); err != nil {
		return nil, diskRefusal(text, err)
	}
	d.node, _, err = s.Volume.Open(d.dir, d.name)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		d.dir.Close()
		return nil, diskRefusal(text, err)
	}
	return d, nil
}

// disk is place for a file that has to be there.
func (s *System) disk(text string) (*diskFile, error) {
	d, err := s.place(text)
	if err == nil && d.node == nil {
		d.close()
		return nil, Errorf(http.StatusNotFound, "%s: not found", text)
	}
	return d, err
}

// payload is the file that reservations hang on.
func (d *diskFile) payload() (store.FileID, error) {
	if !isSet(d.name) {
		return d.node.ID(), nil
	}
	data, err := d.node.Data()
	if err != nil {
		return 0, err
	}
	defer data.Close()
	name, err := vhdx.ReadSet(data)
	if err != nil {
		return 0, err
	}
	n, _, err := d.s.Volume.Open(d.dir, name)
	if err != nil {
		return 0, err
	}
	defer n.Close()
	return n.ID(), nil
}

func isSet(name string) bool { return strings.HasSuffix(strings.ToLower(name), ".vhds") }

func diskRefusal(text string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNotDir):
		return Errorf(http.StatusNotFound, "%s: %v", text, err)
	case errors.Is(err, vhdx.ErrNotVHDX), errors.Is(err, vhdx.ErrCorrupt), errors.Is(err, vhdx.ErrUnsupported), errors.Is(err, vhdx.ErrParent):
		return Errorf(http.StatusUnprocessableEntity, "%s: %v", text, err)
	case errors.Is(err, store.ErrExist):
		return Errorf(http.StatusConflict, "%s: %v", text, err)
	case errors.Is(err, store.ErrInvalid), errors.Is(err, store.ErrName):
		return Errorf(http.StatusBadRequest, "%s: %v", text, err)
	}
	return err
}

// DiskInfo describes a virtual disk.
type DiskInfo struct {
	Format         string `json:"format"` // vhdx or vhds
	Type           string `json:"type"`   // fixed, dynamic or differencing
	Active         string `json:"active"` // the file that holds the contents
	Size           int64  `json:"size"`
	FileSize       int64  `json:"file_size"`
	BlockSize      int64  `json:"block_size"`
	LogicalSector  int64  `json:"logical_sector"`
	PhysicalSector int64  `json:"physical_sector"`
	DiskID         string `json:"disk_id"`
	Parent         string `json:"parent,omitempty"`
	Shared         bool   `json:"shared"` // open as a shared disk
}

func diskInfo(_ context.Context, s *System, c *Call) (any, error) {
	d, err := s.disk(c.Str("target"))
	if err != nil {
		return nil, err
	}
	defer d.close()
	box, active, err := rsvd.Container(s.Volume, d.node, d.name, d.folder())
	if err != nil {
		return nil, diskRefusal(c.Str("target"), err)
	}
	defer box.Close()
	i := box.Info()
	out := DiskInfo{Format: "vhdx", Type: "dynamic", Active: active, Size: i.Size, FileSize: i.FileSize, BlockSize: i.BlockSize, LogicalSector: i.LogicalSector,
		PhysicalSector: i.PhysicalSector, DiskID: i.DiskID.String(), Shared: s.Disks.InUse(s.Volume, d.node.ID())}
	switch {
	case i.HasParent:
		out.Type, out.Parent = "differencing", i.Parent.RelativePath
	case i.Fixed:
		out.Type = "fixed"
	}
	if active != d.name {
		out.Format = "vhds"
	}
	return out, nil
}

// DiskCheck is what a check found.
type DiskCheck struct {
	Clean bool   `json:"clean"`
	What  string `json:"what,omitempty"`
}

func checkDisk(_ context.Context, s *System, c *Call) (any, error) {
	d, err := s.disk(c.Str("target"))
	if err != nil {
		return nil, err
	}
	defer d.close()
	err, open := s.Disks.Check(s.Volume, d.node.ID())
	if !open {
		var box *vhdx.Disk
		if box, _, err = rsvd.Container(s.Volume, d.node, d.name, d.folder()); err == nil {
			box.Close()
		}
	}
	switch {
	case err == nil:
		return DiskCheck{Clean: true}, nil
	case errors.Is(err, vhdx.ErrCorrupt), errors.Is(err, vhdx.ErrParent), errors.Is(err, vhdx.ErrUnsupported):
		return DiskCheck{What: err.Error()}, nil
	}
	return nil, diskRefusal(c.Str("target"), err)
}

// create makes a file by way of the object store, which tells watchers.
func (d *diskFile) create(path string) (*object.Open, error) {
	var o *object.Open
	status := ntstatus.Pending
	d.tree.Create(&object.CreateRequest{Token: auth.System, Path: path, DesiredAccess: uint32(dtyp.FileAllAccess),
		Disposition: uint32(smb2.DispositionCreate), Options: uint32(smb2.OptionNonDirectoryFile)},
		func(res object.CreateResult, st ntstatus.Status) { o, status = res.Open, st })
	return o, statusRefusal(path, status)
}

// statusRefusal tells an administrator what the object store says.
func statusRefusal(what string, status ntstatus.Status) error {
	switch status {
	case ntstatus.Success:
		return nil
	case ntstatus.ObjectNameCollision:
		return Errorf(http.StatusConflict, "%s exists already", what)
	case ntstatus.SharingViolation, ntstatus.FileNotAvailable, ntstatus.IOTimeout:
		return Errorf(http.StatusConflict, "%s is in use", what)
	}
	return Errorf(http.StatusBadRequest, "%s: %v", what, status)
}

// fill lets make write a new file, which goes again when that fails.
func (d *diskFile) fill(path string, make func(store.Stream) (store.Pos, error)) error {
	o, err := d.create(path)
	if err != nil {
		return err
	}
	n, err := d.s.Volume.OpenID(store.Live, o.ID())
	if err == nil {
		var data store.Stream
		if data, err = n.Data(); err == nil {
			var pos store.Pos
			if pos, err = make(data); err == nil {
				err = d.s.Volume.Wait(pos)
			}
			data.Close()
		}
		n.Close()
	}
	if err != nil {
		o.DeleteAtClose()
	}
	o.Close()
	return err
}

func createDisk(_ context.Context, s *System, c *Call) (any, error) {
	size, err := ParseSize(c.Str("size"))
	if err != nil {
		return nil, Errorf(http.StatusBadRequest, "%v", err)
	}
	d, err := s.place(c.Str("target"))
	if err != nil {
		return nil, err
	}
	defer d.close()
	p := vhdx.Params{Size: size, Fixed: c.Bool("fixed"), LogicalSector: c.Int("sector")}
	path := d.path
	if isSet(d.name) {
		path = d.besides(payloadName(d.name))
	}
	if err := d.fill(path, func(data store.Stream) (store.Pos, error) { return vhdx.Create(data, p, store.Touch{}) }); err != nil {
		return nil, diskRefusal(c.Str("target"), err)
	}
	if path != d.path {
		err = d.fill(d.path, func(data store.Stream) (store.Pos, error) {
			return vhdx.WriteSet(data, path[strings.LastIndexByte(path, '\\')+1:], store.Touch{})
		})
	}
	return nil, diskRefusal(c.Str("target"), err)
}

// payloadName is the name of the file behind a set, as Windows makes it.
func payloadName(set string) string {
	return set[:len(set)-len(".vhds")] + "_" + dtyp.NewGUID().String() + ".avhdx"
}

// besides is the path of another file in the same folder.
func (d *diskFile) besides(name string) string { return d.path[:len(d.path)-len(d.name)] + name }

func convertDisk(ctx context.Context, s *System, c *Call) (any, error) {
	from, err := s.disk(c.Str("source"))
	if err != nil {
		return nil, err
	}
	defer from.close()
	to, err := s.place(c.Str("target"))
	if err != nil {
		return nil, err
	}
	defer to.close()
	// Nobody may write to it, and no shared open may be there, while it is copied.
	access := uint32(dtyp.FileReadData | dtyp.Delete)
	held, status := from.tree.Acquire(ctx, from.node.ID(), access, uint32(smb2.ShareRead), false)
	if status != ntstatus.Success {
		return nil, statusRefusal(c.Str("source"), status)
	}
	defer held.Close()
	if isSet(to.name) {
		return nil, diskRefusal(c.Str("source"), from.toSet(to, held))
	}
	box, _, err := rsvd.Container(s.Volume, from.node, from.name, from.folder())
	if err != nil {
		return nil, diskRefusal(c.Str("source"), err)
	}
	defer box.Close()
	i := box.Info()
	p := vhdx.Params{Size: i.Size, Fixed: c.Bool("fixed"), LogicalSector: i.LogicalSector, PhysicalSector: i.PhysicalSector}
	return nil, diskRefusal(c.Str("target"), to.fill(to.path, func(data store.Stream) (store.Pos, error) {
		if _, err := vhdx.Create(data, p, store.Touch{}); err != nil {
			return 0, err
		}
		n, _, err := s.Volume.Open(to.dir, to.name)
		if err != nil {
			return 0, err
		}
		defer n.Close()
		own, err := n.Data()
		if err != nil {
			return 0, err
		}
		disk, err := vhdx.Open(own, vhdx.Options{})
		if err != nil {
			own.Close()
			return 0, err
		}
		return rsvd.Copy(disk, box)
	}))
}

// toSet gives the disk's file another name and its set the one to open it by. The
// reservations hang on the file and stay.
func (d *diskFile) toSet(set *diskFile, held *object.Open) error {
	if d.dir.ID() != set.dir.ID() || isSet(d.name) {
		return Errorf(http.StatusBadRequest, "a disk and its set lie in one folder, and a set is none of another")
	}
	box, _, err := rsvd.Container(d.s.Volume, d.node, d.name, d.folder())
	if err != nil {
		return err
	}
	box.Close()
	active := payloadName(set.name)
	if err := set.fill(set.path, func(data store.Stream) (store.Pos, error) { return vhdx.WriteSet(data, active, store.Touch{}) }); err != nil {
		return err
	}
	var pos store.Pos
	status := ntstatus.Pending
	done := make(chan struct{})
	held.Rename(d.besides(active), 0, func(p store.Pos, st ntstatus.Status) {
		pos, status = p, st
		close(done)
	})
	<-done
	if status != ntstatus.Success {
		return statusRefusal(d.name, status)
	}
	return d.s.Volume.Wait(pos)
}
