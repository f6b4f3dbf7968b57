package server

import (
	"encoding/binary"
	"math"

	"gabion/protocol/dtyp"
	"gabion/protocol/fscc"
	"gabion/protocol/ntstatus"
	"gabion/store"
)

// setSparse is FSCTL_SET_SPARSE [MS-FSCC] 2.3.83, [MS-FSA] 2.1.5.10.38.
func (c *control) setSparse() {
	if !c.f.granted(dtyp.FileWriteData | dtyp.FileAppendData | dtyp.FileWriteAttributes) {
		c.fail(ntstatus.AccessDenied)
		return
	}
	c.done(c.f.obj.SetSparse(fscc.DecodeSetSparse(c.req.Input)))
}

// zeroData is FSCTL_SET_ZERO_DATA [MS-FSCC] 2.3.85, [MS-FSA] 2.1.5.10.39.
func (c *control) zeroData() {
	var x fscc.ZeroData
	if x.Decode(c.req.Input) != nil || x.FileOffset < 0 || x.BeyondFinalZero < 0 || x.FileOffset > x.BeyondFinalZero {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	c.done(c.f.obj.Zero(x.FileOffset, x.BeyondFinalZero))
}

// allocatedRanges is FSCTL_QUERY_ALLOCATED_RANGES [MS-FSA] 2.1.5.10.22.
func (c *control) allocatedRanges() {
	var x fscc.AllocatedRange
	if x.Decode(c.req.Input) != nil || x.FileOffset < 0 || x.Length < 0 || x.Length > math.MaxInt64-x.FileOffset {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	fit := c.room() / fscc.AllocatedRangeSize
	ranges, status := c.f.obj.Allocated(x.FileOffset, x.Length, fit)
	fit = min(fit, len(ranges))
	switch {
	case status != ntstatus.Success:
		c.fail(status)
		return
	case fit == 0 && len(ranges) > 0:
		c.fail(ntstatus.BufferTooSmall)
		return
	case fit < len(ranges):
		status = ntstatus.BufferOverflow
	}
	c.r.respondIoctl(status, &c.req, appendRanges(nil, ranges[:fit]))
}

func appendRanges(b []byte, ranges []store.Range) []byte {
	for _, r := range ranges {
		b = (&fscc.AllocatedRange{FileOffset: r.Off, Length: r.Len}).Append(b)
	}
	return b
}

// fileRegions is FSCTL_QUERY_FILE_REGIONS [MS-FSA] 2.1.5.10.24, as NTFS answers it: what
// lies below the valid data length, and the rest.
func (c *control) fileRegions() {
	in := fscc.FileRegion{Length: math.MaxInt64, Usage: fscc.FileUsageValidCachedData}
	const inputSize = 24 // FILE_REGION_INPUT
	switch n := len(c.req.Input); {
	case n == 0:
	case n < inputSize:
		c.fail(ntstatus.BufferTooSmall)
		return
	default:
		in.Decode(c.req.Input)
	}
	if in.FileOffset < 0 || in.Length <= 0 || n63(in.FileOffset, in.Length) || in.Usage&fscc.FileUsageValidCachedData == 0 {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	room := fscc.FileRegionRoom(c.room())
	if room < 1 {
		c.fail(ntstatus.BufferTooSmall)
		return
	}
	i, status := c.f.obj.Info()
	if status != ntstatus.Success {
		c.fail(status)
		return
	}
	out := fscc.FileRegions{Regions: regions(&in, i.Stream)}
	if len(out.Regions) == 0 {
		c.ok(nil)
		return
	}
	out.Total = uint32(len(out.Regions))
	if len(out.Regions) > room {
		c.fail(ntstatus.BufferOverflow)
		return
	}
	c.ok(out.Append(nil))
}

// n63 reports whether a sum exceeds 63 bits. The default length does by itself.
func n63(off, n int64) bool { return off > 0 && n > math.MaxInt64-off }

// regions lists what [in.FileOffset, +in.Length) of a stream consists of.
func regions(in *fscc.FileRegion, s store.Sizes) (list []fscc.FileRegion) {
	if in.FileOffset > s.Size || in.FileOffset == s.Size && s.Size > 0 {
		return nil
	}
	end := s.Size
	if in.Length < end-in.FileOffset {
		end = in.FileOffset + in.Length
	}
	valid := max(in.FileOffset, min(end, s.ValidData))
	if valid > in.FileOffset {
		list = append(list, fscc.FileRegion{FileOffset: in.FileOffset, Length: valid - in.FileOffset, Usage: in.Usage})
	}
	if end > valid || len(list) == 0 {
		list = append(list, fscc.FileRegion{FileOffset: valid, Length: end - valid})
	}
	return list
}

// trim is FSCTL_FILE_LEVEL_TRIM [MS-SMB2] 3.3.5.15.14, [MS-FSA] 2.1.5.10.6.
func (c *control) trim() {
	var x fscc.FileLevelTrim
	const outputSize = 4 // FILE_LEVEL_TRIM_OUTPUT
	if x.Decode(c.req.Input) != nil || x.Key != 0 || len(x.Ranges) == 0 || c.room() > 0 && c.room() < outputSize {
		c.fail(ntstatus.InvalidParameter)
		return
	}
	if !c.f.granted(dtyp.FileWriteData) {
		c.fail(ntstatus.AccessDenied)
		return
	}
	var last store.Pos
	done := uint32(0)
	for _, t := range x.Ranges {
		if t.Offset > math.MaxInt64 || t.Length > math.MaxInt64-t.Offset {
			c.fail(ntstatus.IntegerOverflow)
			return
		}
		processed, pos, status := c.f.obj.Trim(int64(t.Offset), int64(t.Length))
		if status != ntstatus.Success {
			c.fail(status)
			return
		}
		last = max(last, pos)
		if processed {
			done++
		}
	}
	if done == 0 {
		c.fail(ntstatus.NoRangesProcessed) // [MS-FSCC] 2.3.14; [MS-FSA] says success
		return
	}
	var out []byte
	if c.room() > 0 {
		out = binary.LittleEndian.AppendUint32(nil, done)
	}
	c.durable(last, ntstatus.Success, out)
}
