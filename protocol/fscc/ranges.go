package fscc

import "gabion/protocol/dtyp"

// DecodeSetSparse reads FSCTL_SET_SPARSE's input; without input the file
// becomes sparse ([MS-FSCC] 2.3.83).
func DecodeSetSparse(b []byte) bool { return len(b) == 0 || b[0] != 0 }

// DecodeAllocatedRanges reads FSCTL_QUERY_ALLOCATED_RANGES' output.
func DecodeAllocatedRanges(b []byte) ([]AllocatedRange, error) {
	if len(b)%AllocatedRangeSize != 0 {
		return nil, malformed("FILE_ALLOCATED_RANGE_BUFFER")
	}
	list := make([]AllocatedRange, len(b)/AllocatedRangeSize)
	for i := range list {
		if err := list[i].Decode(b[i*AllocatedRangeSize:]); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// FileLevelTrim is FSCTL_FILE_LEVEL_TRIM's input ([MS-FSCC] 2.3.13).
type FileLevelTrim struct {
	Key    uint32 // must be 0 over the network
	Ranges []LevelTrimRange
}

// Append appends the wire form.
func (x *FileLevelTrim) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Key)
	dst = le.AppendUint32(dst, uint32(len(x.Ranges)))
	for i := range x.Ranges {
		dst = x.Ranges[i].Append(dst)
	}
	return dst
}

// Decode reads the wire form.
func (x *FileLevelTrim) Decode(b []byte) error {
	if len(b) < 8 {
		return malformed("FILE_LEVEL_TRIM")
	}
	n := uint64(le.Uint32(b[4:]))
	if 8+n*LevelTrimRangeSize > uint64(len(b)) {
		return malformed("FILE_LEVEL_TRIM NumRanges")
	}
	x.Key = le.Uint32(b)
	x.Ranges = make([]LevelTrimRange, n)
	for i := range x.Ranges {
		if err := x.Ranges[i].Decode(b[8+i*LevelTrimRangeSize:]); err != nil {
			return err
		}
	}
	return nil
}

// FileRegions is FSCTL_QUERY_FILE_REGIONS' output ([MS-FSCC] 2.3.56); its
// input is a FileRegion whose Usage is DesiredUsage, or nothing.
type FileRegions struct {
	Flags uint32
	// Total counts all regions, also those there was no room for.
	Total   uint32
	Regions []FileRegion
}

const fileRegionsHeader = 16

// Append appends the wire form.
func (x *FileRegions) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.Flags)
	dst = le.AppendUint32(dst, x.Total)
	dst = le.AppendUint32(dst, uint32(len(x.Regions)))
	dst = append(dst, 0, 0, 0, 0)
	for i := range x.Regions {
		dst = x.Regions[i].Append(dst)
	}
	return dst
}

// Decode reads the wire form.
func (x *FileRegions) Decode(b []byte) error {
	if len(b) < fileRegionsHeader {
		return malformed("FILE_REGION_OUTPUT")
	}
	n := uint64(le.Uint32(b[8:]))
	if fileRegionsHeader+n*FileRegionSize > uint64(len(b)) {
		return malformed("FILE_REGION_OUTPUT RegionEntryCount")
	}
	x.Flags, x.Total = le.Uint32(b), le.Uint32(b[4:])
	x.Regions = make([]FileRegion, n)
	for i := range x.Regions {
		if err := x.Regions[i].Decode(b[fileRegionsHeader+i*FileRegionSize:]); err != nil {
			return err
		}
	}
	return nil
}

// FileRegionRoom is how many regions an output buffer of n bytes holds; a
// negative number means not even the header.
func FileRegionRoom(n int) int {
	if n < fileRegionsHeader {
		return -1
	}
	return (n - fileRegionsHeader) / FileRegionSize
}

// OffloadToken is STORAGE_OFFLOAD_TOKEN ([MS-FSCC] 2.1.11), big-endian unlike
// everything around it.
type OffloadToken struct {
	TokenType     uint32
	TokenIDLength uint16
	TokenID       [504]byte
}

const (
	// OffloadTokenSize is the length of a token.
	OffloadTokenSize = 512
	// OffloadTokenZeroData is the well-known token that stands for zeros.
	OffloadTokenZeroData = 0xFFFF0001
	// OffloadTokenIDMax is the room for a vendor's token.
	OffloadTokenIDMax = 504
)

// Encode returns the wire form.
func (x *OffloadToken) Encode() (b [OffloadTokenSize]byte) {
	be.PutUint32(b[:], x.TokenType)
	be.PutUint16(b[6:], x.TokenIDLength)
	copy(b[8:], x.TokenID[:])
	return b
}

// Decode reads the wire form.
func (x *OffloadToken) Decode(b []byte) error {
	if len(b) < OffloadTokenSize {
		return malformed("STORAGE_OFFLOAD_TOKEN")
	}
	x.TokenType = be.Uint32(b)
	x.TokenIDLength = be.Uint16(b[6:])
	copy(x.TokenID[:], b[8:])
	if x.TokenIDLength > OffloadTokenIDMax {
		return malformed("STORAGE_OFFLOAD_TOKEN TokenIdLength")
	}
	return nil
}

// PipeWait is FSCTL_PIPE_WAIT's input ([MS-FSCC] 2.3.49).
type PipeWait struct {
	Timeout          int64 // in 100 ns
	TimeoutSpecified bool
	Name             string // without \pipe\
}

const pipeWaitHeader = 14

// Append appends the wire form.
func (x *PipeWait) Append(dst []byte) []byte {
	dst = le.AppendUint64(dst, uint64(x.Timeout))
	dst = le.AppendUint32(dst, uint32(2*dtyp.UTF16Len(x.Name)))
	dst = append(appendBool(dst, x.TimeoutSpecified), 0)
	return dtyp.AppendUTF16(dst, x.Name)
}

// Decode reads the wire form.
func (x *PipeWait) Decode(b []byte) (err error) {
	if len(b) < pipeWaitHeader {
		return malformed("FSCTL_PIPE_WAIT")
	}
	x.Timeout = int64(le.Uint64(b))
	x.TimeoutSpecified = b[12] != 0
	x.Name, err = nameAt(b, pipeWaitHeader, le.Uint32(b[8:]), "FSCTL_PIPE_WAIT Name")
	return err
}

// PipePeek is FSCTL_PIPE_PEEK's output ([MS-FSCC] 2.3.46).
type PipePeek struct {
	NamedPipeState    uint32
	ReadDataAvailable uint32
	NumberOfMessages  uint32
	MessageLength     uint32
	Data              []byte // copied by Decode
}

const pipePeekHeader = 16

// Append appends the wire form.
func (x *PipePeek) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, x.NamedPipeState)
	dst = le.AppendUint32(dst, x.ReadDataAvailable)
	dst = le.AppendUint32(dst, x.NumberOfMessages)
	dst = le.AppendUint32(dst, x.MessageLength)
	return append(dst, x.Data...)
}

// Decode reads the wire form.
func (x *PipePeek) Decode(b []byte) error {
	if len(b) < pipePeekHeader {
		return malformed("FSCTL_PIPE_PEEK")
	}
	x.NamedPipeState, x.ReadDataAvailable = le.Uint32(b), le.Uint32(b[4:])
	x.NumberOfMessages, x.MessageLength = le.Uint32(b[8:]), le.Uint32(b[12:])
	x.Data = append([]byte(nil), b[pipePeekHeader:]...)
	return nil
}

// RetrievalPointers is FSCTL_GET_RETRIEVAL_POINTERS' output ([MS-FSCC] 2.3.32).
// Its input is the 64-bit StartingVcn.
type RetrievalPointers struct {
	StartingVcn int64
	Extents     []Extent
}

// Extent is EXTENTS ([MS-FSCC] 2.3.32.1); Lcn -1 is a hole.
type Extent struct {
	NextVcn int64
	Lcn     int64
}

// Append appends the wire form.
func (x *RetrievalPointers) Append(dst []byte) []byte {
	dst = le.AppendUint32(dst, uint32(len(x.Extents)))
	dst = append(dst, 0, 0, 0, 0)
	dst = le.AppendUint64(dst, uint64(x.StartingVcn))
	for _, e := range x.Extents {
		dst = le.AppendUint64(dst, uint64(e.NextVcn))
		dst = le.AppendUint64(dst, uint64(e.Lcn))
	}
	return dst
}

// Decode reads the wire form.
func (x *RetrievalPointers) Decode(b []byte) error {
	if len(b) < 16 {
		return malformed("RETRIEVAL_POINTERS_BUFFER")
	}
	n := uint64(le.Uint32(b))
	if 16+16*n > uint64(len(b)) {
		return malformed("RETRIEVAL_POINTERS_BUFFER ExtentCount")
	}
	x.StartingVcn = int64(le.Uint64(b[8:]))
	x.Extents = make([]Extent, n)
	for i := range x.Extents {
		p := b[16+16*i:]
		x.Extents[i] = Extent{int64(le.Uint64(p)), int64(le.Uint64(p[8:]))}
	}
	return nil
}
