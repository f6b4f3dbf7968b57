package server

import (
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
)

// fsQueries has the classes of file systems [MS-SMB2] 2.2.37.
var fsQueries = [...]func(*query){
	fscc.FileFsVolumeInformation:     (*query).fsVolume,
	fscc.FileFsSizeInformation:       (*query).fsSize,
	fscc.FileFsDeviceInformation:     (*query).fsDevice,
	fscc.FileFsAttributeInformation:  (*query).fsAttribute,
	fscc.FileFsControlInformation:    (*query).fsControl,
	fscc.FileFsFullSizeInformation:   (*query).fsFullSize,
	fscc.FileFsObjectIDInformation:   (*query).fsObjectID,
	fscc.FileFsSectorSizeInformation: (*query).fsSectorSize,
}

// fileSystem is 3.3.5.20.2.
func (q *query) fileSystem() {
	class := fscc.FsInformationClass(q.req.FileInfoClass)
	switch {
	case int(class) >= len(fsQueries) || class == 0:
		q.fail(ntstatus.InvalidInfoClass)
	case fsQueries[class] == nil:
		q.fail(ntstatus.NotSupported)
	case q.room < class.MinSize():
		q.tooShort()
	default:
		fsQueries[class](q)
	}
}

const (
	bytesPerSector   = 512
	physicalSector   = 4096
	fileSystemName   = "NTFS" // the one name by which clients expect ACLs, streams and EAs
	maxComponentName = 255
)

// allocationUnits converts bytes to what FileFs…SizeInformation counts in.
func (q *query) allocationUnits() (unit int64, sectors uint32) {
	unit = int64(q.f.obj.Tree().Store().Info().BlockSize)
	return unit, uint32(unit / bytesPerSector)
}

func (q *query) fsVolume() {
	i := q.f.obj.Tree().Store().Info()
	q.answer(&fscc.FsVolumeInformation{
		VolumeCreationTime: i.Created, VolumeSerialNumber: i.Serial, SupportsObjects: true, VolumeLabel: q.f.share.Name,
	})
}

func (q *query) fsSize() {
	space, _ := q.f.obj.Tree().Space()
	unit, sectors := q.allocationUnits()
	q.answer(&fscc.FsSizeInformation{
		TotalAllocationUnits: space.Total / unit, AvailableAllocationUnits: space.Free / unit,
		SectorsPerAllocationUnit: sectors, BytesPerSector: bytesPerSector,
	})
}

// fsFullSize: the caller has what the share's quota leaves, [MS-FSCC] 2.5.4.
func (q *query) fsFullSize() {
	space, left := q.f.obj.Tree().Space()
	unit, sectors := q.allocationUnits()
	q.answer(&fscc.FsFullSizeInformation{
		TotalAllocationUnits:           space.Total / unit,
		CallerAvailableAllocationUnits: space.Free / unit,
		ActualAvailableAllocationUnits: left / unit,
		SectorsPerAllocationUnit:       sectors, BytesPerSector: bytesPerSector,
	})
}

func (q *query) fsDevice() {
	x := fscc.FsDeviceInformation{DeviceType: fscc.DeviceDisk, Characteristics: fscc.DeviceIsMounted}
	if q.f.share.ReadOnly {
		x.Characteristics |= fscc.ReadOnlyDevice
	}
	q.answer(&x)
}

// fileSystemAttributes are what the store does: [MS-FSCC] 2.5.1. Of what it can do
// 3.3.5.20.2 leaves out opening by file id, which is not for the wire.
const fileSystemAttributes = fscc.FsCaseSensitiveSearch | fscc.FsCasePreservedNames | fscc.FsUnicodeOnDisk |
	fscc.FsPersistentACLs | fscc.FsSupportsSparseFiles | fscc.FsSupportsReparsePoints | fscc.FsSupportsObjectIDs |
	fscc.FsNamedStreams | fscc.FsSupportsHardLinks | fscc.FsSupportsExtendedAttributes |
	fscc.FsSupportsSparseVDL

func (q *query) fsAttribute() {
	x := fscc.FsAttributeInformation{
		FileSystemAttributes: fileSystemAttributes, MaximumComponentNameLength: maxComponentName, FileSystemName: fileSystemName,
	}
	if q.r.server().caps.Has(CapBlockRefcounting) {
		x.FileSystemAttributes |= fscc.FsSupportsBlockRefcounting
	}
	if q.f.share.ReadOnly {
		x.FileSystemAttributes |= fscc.FsReadOnlyVolume
	}
	q.answer(&x)
}

// fsControl: no quotas of users are kept.
func (q *query) fsControl() {
	const noLimit = ^uint64(0)
	q.answer(&fscc.FsControlInformation{DefaultQuotaThreshold: noLimit, DefaultQuotaLimit: noLimit})
}

func (q *query) fsObjectID() {
	q.answer(&fscc.FsObjectIDInformation{ObjectID: q.f.obj.Tree().Store().Info().GUID})
}

// fsSectorSize: 512 bytes can be addressed, 4 KiB are what the store writes at once.
func (q *query) fsSectorSize() {
	q.answer(&fscc.FsSectorSizeInformation{
		LogicalBytesPerSector:                                 bytesPerSector,
		PhysicalBytesPerSectorForAtomicity:                    physicalSector,
		PhysicalBytesPerSectorForPerformance:                  physicalSector,
		FileSystemEffectivePhysicalBytesPerSectorForAtomicity: physicalSector,
		Flags: fscc.SectorAlignedDevice | fscc.SectorPartitionAlignedOnDevice | fscc.SectorNoSeekPenalty | fscc.SectorTrimEnabled,
	})
}
