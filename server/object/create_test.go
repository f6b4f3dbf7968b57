package object

import (
	"io"
	"strings"
	"testing"

	"gabion/protocol/ntstatus"
	"gabion/store"
	"gabion/store/memvol"
)

func TestCreateDispositions(t *testing.T) {
	for _, tt := range []struct {
		disposition uint32
		fresh       ntstatus.Status
		freshAction uint32
		there       ntstatus.Status
		thereAction uint32
		emptied     bool
	}{
		{dispSupersede, ntstatus.Success, ActionCreated, ntstatus.Success, ActionSuperseded, true},
		{dispOpen, ntstatus.ObjectNameNotFound, 0, ntstatus.Success, ActionOpened, false},
		{dispCreate, ntstatus.Success, ActionCreated, ntstatus.ObjectNameCollision, 0, false},
		{dispOpenIf, ntstatus.Success, ActionCreated, ntstatus.Success, ActionOpened, false},
		{dispOverwrite, ntstatus.ObjectNameNotFound, 0, ntstatus.Success, ActionOverwritten, true},
		{dispOverwriteIf, ntstatus.Success, ActionCreated, ntstatus.Success, ActionOverwritten, true},
	} {
		w := newWorld(t)
		out := w.try("file", disposition(tt.disposition))
		if out.Status != tt.fresh || out.Status == ntstatus.Success && out.Action != tt.freshAction {
			t.Errorf("disposition %d, no file: %v action %d", tt.disposition, out.Status, out.Action)
		}
		if out.Open != nil {
			w.close(out.Open)
		}
		o := w.create("file")
		w.write(o, "data", 0)
		w.close(o)
		out = w.try("FILE", disposition(tt.disposition))
		if out.Status != tt.there || out.Status == ntstatus.Success && out.Action != tt.thereAction {
			t.Errorf("disposition %d, file there: %v action %d", tt.disposition, out.Status, out.Action)
		}
		if out.Open != nil {
			if empty := out.Info.Stream.Size == 0; empty != tt.emptied {
				t.Errorf("disposition %d: size %d", tt.disposition, out.Info.Stream.Size)
			}
			if p := out.Open.Path(); p != "file" {
				t.Errorf("path %q, want the stored case", p)
			}
			w.close(out.Open)
		}
		w.idle()
	}
}

func TestCreateNames(t *testing.T) {
	w := newWorld(t)
	w.make("dir", folder)
	w.make("file")
	long := strings.Repeat("x", 255)
	for _, tt := range []struct {
		path    string
		options uint32
		want    ntstatus.Status
	}{
		{"", optDirectoryFile, ntstatus.Success},
		{"", 0, ntstatus.Success},
		{"", optNonDirectoryFile, ntstatus.FileIsADirectory},
		{`\file`, 0, ntstatus.InvalidParameter},
		{`file\`, 0, ntstatus.ObjectNameInvalid},
		{`dir\`, 0, ntstatus.Success},
		{`dir\`, optNonDirectoryFile, ntstatus.ObjectNameInvalid},
		{`dir\\new`, 0, ntstatus.Success},
		{`nowhere\new`, 0, ntstatus.ObjectPathNotFound},
		{`file\new`, 0, ntstatus.ObjectPathNotFound},
		{`dir\..\file`, 0, ntstatus.InvalidParameter},
		{`..\file`, 0, ntstatus.ObjectPathSyntaxBad},
		{`dir\.`, 0, ntstatus.Success},
		{`.\file`, 0, ntstatus.Success},
		{`dir\x\..`, optDirectoryFile, ntstatus.Success},
		{`dir\..`, optDirectoryFile, ntstatus.Success},
		{"a*b", 0, ntstatus.ObjectNameInvalid},
		{"a?b", 0, ntstatus.ObjectNameInvalid},
		{"a\x01b", 0, ntstatus.ObjectNameInvalid},
		{"a|b", 0, ntstatus.ObjectNameInvalid},
		{"a/b", 0, ntstatus.ObjectNameInvalid},
		{long, 0, ntstatus.Success},
		{long + "x", 0, ntstatus.ObjectNameInvalid},
		{strings.Repeat("😀", 127), 0, ntstatus.Success},
		{strings.Repeat("😀", 128), 0, ntstatus.ObjectNameInvalid},
		{"file", optDirectoryFile, ntstatus.NotADirectory},
		{"dir", optNonDirectoryFile, ntstatus.FileIsADirectory},
		{"file::$DATA", 0, ntstatus.Success},
		{"file::$data", 0, ntstatus.Success},
		{"dir::$INDEX_ALLOCATION", 0, ntstatus.Success},
		{"dir:$I30:$INDEX_ALLOCATION", 0, ntstatus.Success},
		{"dir::$DATA", 0, ntstatus.FileIsADirectory},
		{"file::$INDEX_ALLOCATION", 0, ntstatus.NotADirectory},
		{"dir:$I30x:$INDEX_ALLOCATION", 0, ntstatus.InvalidParameter},
		{"file:", 0, ntstatus.ObjectNameInvalid},
		{"file::", 0, ntstatus.ObjectNameInvalid},
		{"file:s:", 0, ntstatus.ObjectNameInvalid},
		{"file:s:$BAD", 0, ntstatus.ObjectNameInvalid},
		{"file:s", 0, ntstatus.Success},
		{"file:s", optDirectoryFile, ntstatus.NotADirectory},
		{"dir:s", 0, ntstatus.Success},
		{":s", 0, ntstatus.Success},
		{`dir:s\file`, 0, ntstatus.ObjectNameInvalid},
		{`dir::$INDEX_ALLOCATION\file`, 0, ntstatus.Success},
	} {
		out := w.try(tt.path, options(tt.options))
		if out.Status != tt.want {
			t.Errorf("%.40q options %#x: %v, want %v", tt.path, tt.options, out.Status, tt.want)
		}
		if out.Open != nil {
			w.close(out.Open)
		}
	}
	w.idle()
}

func TestCreateParameters(t *testing.T) {
	w := newWorld(t)
	w.make("file")
	for _, tt := range []struct {
		name string
		opts []option
		want ntstatus.Status
	}{
		{"no access", []option{access(0)}, ntstatus.AccessDenied},
		{"reserved access", []option{access(0x00200000)}, ntstatus.AccessDenied},
		{"share bits", []option{share(8)}, ntstatus.InvalidParameter},
		{"disposition", []option{disposition(6)}, ntstatus.InvalidParameter},
		{"high options", []option{options(0x01000000)}, ntstatus.InvalidParameter},
		{"by id from the wire", []option{options(optOpenByFileID)}, ntstatus.NotSupported},
		{"opfilter", []option{options(optReserveOpfilter)}, ntstatus.NotSupported},
		{"both kinds", []option{options(optDirectoryFile | optNonDirectoryFile)}, ntstatus.InvalidParameter},
		{"overwrite a directory", []option{options(optDirectoryFile), disposition(dispOverwrite)}, ntstatus.InvalidParameter},
		{"delete on close without DELETE", []option{options(optDeleteOnClose), access(fileGenericRead)}, ntstatus.InvalidParameter},
		{"device attribute", []option{attributes(0x40)}, ntstatus.InvalidParameter},
		{"encrypted", []option{attributes(attrEncrypted)}, ntstatus.AccessDenied},
		{"beyond the share's access", []option{func(r *CreateRequest) { r.MaximalAccess = fileGenericRead }}, ntstatus.AccessDenied},
	} {
		if out := w.try("file", tt.opts...); out.Status != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, out.Status, tt.want)
		}
	}
	o := w.create("file", access(maximumAllowed), func(r *CreateRequest) { r.MaximalAccess = fileGenericRead })
	if o.Access() != fileGenericRead {
		t.Errorf("granted %#x", o.Access())
	}
	w.close(o)
}

func TestImpliedRightsAreNotKept(t *testing.T) {
	w := newWorld(t)
	w.make("f")
	o := w.create("f", disposition(dispOverwrite), access(fileReadData))
	if o.Access() != fileReadData {
		t.Errorf("granted %#x", o.Access())
	}
	w.close(o)
	reader := w.create("f", access(fileReadData), share(shareRead))
	w.want("overwrite where writing is not shared", w.try("f", disposition(dispOverwrite), access(fileReadData)).Status, ntstatus.SharingViolation)
	w.close(reader)
	w.idle()
}

func TestCreateAttributes(t *testing.T) {
	w := newWorld(t)
	o := w.create("f", attributes(attrHidden|attrDirectory))
	i, _ := o.Info()
	if i.FileAttributes != attrHidden|attrArchive {
		t.Errorf("attributes %#x", i.FileAttributes)
	}
	w.close(o)
	w.want("hidden lost", w.try("f", disposition(dispOverwrite)).Status, ntstatus.AccessDenied)
	out := w.try("f", disposition(dispOverwrite), attributes(attrHidden|attrReadonly))
	w.want("overwrite", out.Status, ntstatus.Success)
	w.close(out.Open)
	w.want("write to readonly", w.try("f", access(fileWriteData)).Status, ntstatus.AccessDenied)
	w.want("readonly with delete on close", w.try("f", access(accessDelete), options(optDeleteOnClose)).Status, ntstatus.CannotDelete)
	w.want("overwrite readonly", w.try("f", disposition(dispOverwrite), attributes(attrHidden)).Status, ntstatus.AccessDenied)
	o = w.create("f", access(maximumAllowed))
	if o.has(fileWriteData | fileAppendData) {
		t.Errorf("maximum allowed gave %#x of a read-only file", o.Access())
	}
	w.close(o)
	w.make("d", folder, attributes(attrReadonly))
	w.make(`d\inside`)
	w.idle()
}

func TestAccess(t *testing.T) {
	w := newWorld(t)
	w.make("private")
	o := w.create("private")
	sd := sddl(t, "O:SYG:SYD:P(A;;FA;;;SY)")
	st := w.statusOp(func(done doneFunc) *Pending { return o.SetSecurity(4, sd, done) })
	w.want("set security", st, ntstatus.Success)
	w.close(o)

	w.want("read", w.try("private", as(somebody), read).Status, ntstatus.AccessDenied)
	// FILE_DELETE_CHILD and FILE_LIST_DIRECTORY on the directory give DELETE and
	// FILE_READ_ATTRIBUTES.
	for _, a := range []uint32{accessDelete, fileReadAttributes} {
		out := w.try("private", as(somebody), access(a))
		w.want("by the directory", out.Status, ntstatus.Success)
		w.close(out.Open)
	}
	o = w.create("private", as(somebody), access(maximumAllowed))
	if o.Access() != accessDelete|fileReadAttributes {
		t.Errorf("maximum allowed %#x", o.Access())
	}
	w.close(o)
	w.want("system security", w.try("private", as(somebody), access(accessSystemSecurity|accessDelete)).Status, ntstatus.PrivilegeNotHeld)

	backup := ordinary(1002)
	backup.Privileges |= 1<<privBackup | 1<<privRestore
	w.want("without intent", w.try("private", as(backup), read).Status, ntstatus.AccessDenied)
	w.close(w.create("private", as(backup), access(fileGenericRead|accessWriteDAC|accessDelete), options(optOpenForBackupIntent), disposition(dispOpen)))
	w.idle()
}

func TestInheritance(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder, func(r *CreateRequest) { r.Security = sddl(t, "O:SYG:SYD:P(A;OICI;FA;;;SY)(A;OICI;FR;;;WD)") })
	w.make(`d\f`)
	w.close(w.create(`d\f`, as(somebody), read))
	w.want("write", w.try(`d\f`, as(somebody), access(fileWriteData)).Status, ntstatus.AccessDenied)
	w.want("create", w.try(`d\g`, as(somebody)).Status, ntstatus.AccessDenied)
	w.want("create below", w.try(`d\e`, as(somebody), folder).Status, ntstatus.AccessDenied)
	w.idle()
}

func TestShareModes(t *testing.T) {
	const (
		r, wr, d = shareRead, shareWrite, shareDelete
		all      = r | wr | d
	)
	for _, tt := range []struct {
		access1, share1, access2, share2 uint32
		ok                               bool
	}{
		{fileReadData, r, fileReadData, r, true},
		{fileReadData, 0, fileReadData, all, false},
		{fileReadData, r, fileWriteData, all, false},
		{fileReadData, all, fileWriteData, r, true},
		{fileWriteData, all, fileWriteData, r, false},
		{fileReadData, all, accessDelete, all, true},
		{fileReadData, r | wr, accessDelete, all, false},
		{accessDelete, all, fileReadData, r | wr, false},
		{fileExecute, all, fileReadData, 0, false},
		{fileReadAttributes, 0, fileWriteData, 0, true},
		{fileWriteData, 0, fileReadAttributes, 0, true},
		{fileAppendData, all, fileReadData, r, false},
		{accessReadControl, 0, accessDelete, 0, true},
	} {
		w := newWorld(t)
		w.make("f")
		one := w.create("f", access(tt.access1), share(tt.share1))
		out := w.try("f", access(tt.access2), share(tt.share2))
		want := ntstatus.Success
		if !tt.ok {
			want = ntstatus.SharingViolation
		}
		if out.Status != want {
			t.Errorf("%#x/%d then %#x/%d: %v", tt.access1, tt.share1, tt.access2, tt.share2, out.Status)
		}
		if out.Open != nil {
			w.close(out.Open)
		}
		w.close(one)
		w.idle()
	}
}

func TestShareModesOfStreams(t *testing.T) {
	w := newWorld(t)
	w.make("f:s")
	s := w.create("f:s", access(fileReadData), share(0))
	w.want("same stream", w.try("f:S", access(fileReadData)).Status, ntstatus.SharingViolation)
	w.close(w.create("f", access(fileReadData), share(0)))
	w.want("delete of all", w.try("f", access(accessDelete)).Status, ntstatus.SharingViolation)
	w.close(s)
	d := w.create("f", access(accessDelete))
	w.want("stream beside delete", w.try("f:s", access(fileReadData), share(shareRead)).Status, ntstatus.SharingViolation)
	w.close(d)
	w.idle()
}

func TestOpenByID(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	o := w.create(`d\f`)
	by := w.create("", options(optOpenByFileID), disposition(dispOpen), func(r *CreateRequest) { r.ByID = o.ID() })
	if by.ID() != o.ID() || by.Path() != `d\f` {
		t.Errorf("id %d path %q", by.ID(), by.Path())
	}
	w.close(by, o)
	w.want("unknown id", w.try("", options(optOpenByFileID), disposition(dispOpen), func(r *CreateRequest) { r.ByID = 9999 }).Status, ntstatus.InvalidParameter)
	w.idle()
}

func TestTreeOfFolder(t *testing.T) {
	w := newWorld(t)
	w.make("d", folder)
	w.make(`d\sub`, folder)
	tree, st := w.vol.Tree("d", TreeOptions{Share: "d", ReadOnly: true})
	w.want("tree", st, ntstatus.Success)
	whole := w.tree
	w.tree = tree
	w.want("create in read-only", w.try("new", disposition(dispCreate)).Status, ntstatus.MediaWriteProtected)
	w.want("open or create", w.try("new").Status, ntstatus.MediaWriteProtected)
	o := w.create("sub", read)
	if o.Path() != "sub" {
		t.Errorf("path %q", o.Path())
	}
	if _, st := o.SetBasic(BasicChange{FileAttributes: attrHidden}); st == ntstatus.Success {
		t.Error("changed a read-only share")
	}
	w.close(o)
	w.tree = whole
	w.make("outer", folder)
	d := w.create("d", folder)
	w.want("rename of a share's root", w.rename(d, "e", 0), ntstatus.AccessDenied)
	w.close(d)
	w.close(w.create(`d\sub`, folder, options(optDeleteOnClose)))
	d = w.create("d", folder, options(optDeleteOnClose))
	w.want("delete of a share's root", w.dispose(d, DispositionDelete), ntstatus.CannotDelete)
	w.close(d)
	if s := w.list(""); s != "d outer" {
		t.Error("left:", s)
	}
	tree.Close()
	w.idle()
}

func TestQuotaIndex(t *testing.T) {
	w := newWorld(t)
	o := w.create(`$extend\$quota:$q:$INDEX_ALLOCATION`, read, disposition(dispOpen))
	i, _ := o.Info()
	if i.FileAttributes != attrHidden|attrSystem|attrDirectory|attrArchive || i.CreationTime != 0 {
		t.Errorf("%+v", i)
	}
	w.want("list", o.ReadDir(DirQuery{}, func(*DirEntry) bool { return true }), ntstatus.NoMoreFiles)
	w.want("not an administrator", w.try(quotaIndex, read, disposition(dispOpen), as(somebody)).Status, ntstatus.AccessDenied)
	w.want("create", w.try(quotaIndex, disposition(dispOverwriteIf)).Status, ntstatus.AccessDenied)
	w.close(o)
	w.idle()
}

// A CREATE that fails because of the allocation it asks for leaves nothing behind.
func TestCreateStreamWithoutRoom(t *testing.T) {
	w := newWorld(t)
	w.make("f")
	for _, path := range []string{"f:s", "g:s", "h"} {
		out := w.try(path, disposition(dispCreate), func(r *CreateRequest) { r.Allocation = store.MaxSize + 1 })
		if out.Status == ntstatus.Success {
			t.Errorf("%s: an allocation of more than a file can have", path)
		}
		w.want("opening "+path, w.try(path, disposition(dispOpen)).Status, ntstatus.ObjectNameNotFound)
	}
	if got := w.list(""); got != "f" {
		t.Errorf("there are %q", got)
	}
	w.idle()
	w.make("f:s", disposition(dispCreate))
}

// A copy whose source is closed or cut short meanwhile does not claim to be complete.
func TestCopyFromClosedSource(t *testing.T) {
	w := newWorld(t)
	src, other, to := w.create("f"), w.create("f"), w.create("g")
	w.write(src, "some text", 0)
	w.close(src)
	if n, _, st := to.CopyRange(src, 1, 0, 8); n != 0 || st == ntstatus.Success {
		t.Errorf("%d bytes, %v", n, st)
	}
	w.close(other, to)
}

// What was made for an open that fails is gone again, unless it is somebody else's by then; what
// stays is told.
func TestFailedCreateLeavesNothing(t *testing.T) {
	var fault func(method string) error
	v := memvol.New(memvol.Options{Fault: func(method string) error {
		if fault != nil {
			return fault(method)
		}
		return nil
	}})
	w := newWorldOn(t, v)
	w.make("f")
	during := func(method string, then func()) func(string) error {
		return func(m string) error {
			if m != method {
				return nil
			}
			fault = nil
			then()
			return io.ErrUnexpectedEOF
		}
	}
	refused := func(path string) {
		t.Helper()
		if w.try(path).Status == ntstatus.Success {
			t.Errorf("%s was opened", path)
		}
		fault = nil
	}
	there := func(path string) bool { return w.try(path, disposition(dispOpen)).Status == ntstatus.Success }

	fault = during("Names", func() {})
	refused("new")
	fault = during("Update", func() {})
	refused("f:s")
	if there("new") || there("f:s") {
		t.Errorf("left: file %v, stream %v", there("new"), there("f:s"))
	}
	fault = during("Names", func() { fault = during("Unlink", func() {}) })
	refused("new")
	fault = during("Update", func() { fault = during("RemoveStream", func() {}) })
	refused("f:s")
	w.expect("left new", "left f:s")

	fault = during("Names", func() {
		root, err := v.Root(store.Live)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		if _, err := v.Unlink(root, "other"); err != nil {
			t.Fatal(err)
		}
		n, _, err := v.Create(root, "other", store.Init{})
		if err != nil {
			t.Fatal(err)
		}
		n.Close()
	})
	refused("other")
	if !there("other") {
		t.Error("somebody else's file was removed")
	}
}
