package server

import (
	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/server/object"
)

// fileSetting is what SET_INFO does for one class of files.
type fileSetting struct {
	class  fscc.FileInformationClass
	access dtyp.AccessMask // must have been granted
	apply  func(*set)
}

// fileSettings has the classes of [MS-SMB2] 2.2.39; the needed rights are those of
// 3.3.5.21.1.
var fileSettings = [...]fileSetting{
	{fscc.FileBasicInformation, dtyp.FileWriteAttributes, (*set).basic},
	{fscc.FileRenameInformation, dtyp.Delete, (*set).rename},
	{fscc.FileRenameInformationEx, dtyp.Delete, (*set).rename},
	{fscc.FileLinkInformation, 0, (*set).link},
	{fscc.FileLinkInformationEx, 0, (*set).link},
	{fscc.FileDispositionInformation, dtyp.Delete, (*set).disposition},
	{fscc.FileDispositionInformationEx, dtyp.Delete, (*set).dispositionEx},
	{fscc.FilePositionInformation, 0, (*set).position},
	{fscc.FileFullEaInformation, dtyp.FileWriteEA, (*set).fullEA},
	{fscc.FileModeInformation, 0, (*set).mode},
	{fscc.FileAllocationInformation, dtyp.FileWriteData, (*set).allocation},
	{fscc.FileEndOfFileInformation, dtyp.FileWriteData, (*set).endOfFile},
	{fscc.FileValidDataLengthInformation, dtyp.FileWriteData, (*set).validDataLength},
	{fscc.FileShortNameInformation, dtyp.Delete, (*set).shortName},
}

var fileSettingOf = func() (t [256]*fileSetting) {
	for i := range fileSettings {
		t[fileSettings[i].class] = &fileSettings[i]
	}
	return t
}()

// file is 3.3.5.21.1.
func (s *set) file() {
	class := s.class()
	row := fileSettingOf[class]
	if status := s.f.settable(class); status != ntstatus.Success {
		s.r.fail(status)
		return
	}
	switch {
	case row == nil && (class.Use()&fscc.ClassSet != 0 || class == 30 || class >= 41 && class <= 43):
		s.r.fail(ntstatus.NotSupported) // note 428
	case row == nil:
		s.r.fail(ntstatus.InvalidInfoClass)
	case len(s.req.Buffer) == 0:
		s.r.fail(ntstatus.InvalidParameter)
	case len(s.req.Buffer) < class.MinSize():
		s.r.fail(ntstatus.InfoLengthMismatch)
	case !dtyp.AccessMask(s.f.obj.Access()).Has(row.access):
		s.r.fail(ntstatus.AccessDenied)
	default:
		row.apply(s)
	}
}

func (s *set) class() fscc.FileInformationClass {
	return fscc.FileInformationClass(s.req.FileInfoClass)
}

// decode reads the structure of the class; if it is malformed the request has been
// answered.
func (s *set) decode(x interface{ Decode([]byte) error }) bool {
	if x.Decode(s.req.Buffer) != nil {
		s.r.fail(ntstatus.InvalidParameter)
		return false
	}
	return true
}

func (s *set) basic() {
	var x fscc.BasicInformation
	if s.decode(&x) {
		s.done(s.f.obj.SetBasic(object.BasicChange{
			Creation: int64(x.CreationTime), LastAccess: int64(x.LastAccessTime),
			LastWrite: int64(x.LastWriteTime), Change: int64(x.ChangeTime), FileAttributes: x.FileAttributes,
		}))
	}
}

// target reads the structure that rename and link have in common.
func (s *set) target() (x fscc.RenameInformation, ok bool) {
	switch {
	case x.DecodeRename(s.req.Buffer, s.class()) != nil:
		s.r.fail(ntstatus.InvalidParameter)
	case x.RootDirectory != 0:
		s.r.fail(ntstatus.InvalidParameter)
	case x.FileName == "":
		s.r.fail(ntstatus.ObjectNameInvalid)
	default:
		return x, true
	}
	return x, false
}

func (s *set) rename() {
	if x, ok := s.target(); ok {
		s.wait(s.f.obj.RenameAs(s.r.tree.tokenAt(x.FileName), x.FileName, x.Flags, s.done))
	}
}

func (s *set) link() {
	if x, ok := s.target(); ok {
		s.wait(s.f.obj.LinkAs(s.r.tree.tokenAt(x.FileName), x.FileName, x.Flags, s.done))
	}
}

func (s *set) disposition() {
	var x fscc.DispositionInformation
	if !s.decode(&x) {
		return
	}
	flags := uint32(0)
	if x.DeletePending {
		flags = object.DispositionDelete
	}
	s.wait(s.f.obj.SetDisposition(flags, s.done))
}

func (s *set) dispositionEx() {
	var x fscc.DispositionInformationEx
	if s.decode(&x) {
		s.wait(s.f.obj.SetDisposition(x.Flags, s.done))
	}
}

func (s *set) position() {
	var x fscc.PositionInformation
	if s.decode(&x) {
		s.done(0, s.f.obj.SetPosition(x.CurrentByteOffset))
	}
}

func (s *set) mode() {
	var x fscc.ModeInformation
	if s.decode(&x) {
		s.done(0, s.f.obj.SetMode(x.Mode))
	}
}

func (s *set) fullEA() { s.done(s.f.obj.SetEA(s.req.Buffer)) }

func (s *set) allocation() {
	var x fscc.AllocationInformation
	if s.decode(&x) {
		s.done(s.f.obj.SetAllocation(x.AllocationSize))
	}
}

func (s *set) endOfFile() {
	var x fscc.EndOfFileInformation
	if s.decode(&x) {
		s.done(s.f.obj.SetEndOfFile(x.EndOfFile))
	}
}

func (s *set) validDataLength() {
	var x fscc.ValidDataLengthInformation
	if s.decode(&x) {
		s.done(s.f.obj.SetValidDataLength(x.ValidDataLength))
	}
}

// shortName: volumes hold no short names ([MS-FSA] 2.1.5.15.14).
func (s *set) shortName() { s.r.fail(ntstatus.ShortNamesNotEnabledOnVolume) }
