package block

// Stats is what a volume did since it was opened, and how it stands.
type Stats struct {
	// Bytes written: by the log (headers included), by the cleaner (data moved), and
	// by the index (flushes and compactions).
	LogBytes, MovedBytes, IndexBytes uint64
	// Bytes of data (chunks' payload) that were logged and that were read, by whomever.
	DataWritten, DataRead uint64
	Groups, Syncs         uint64 // commit groups and syncs of the log

	ChunkHits, ChunkMisses uint64 // lookups in the cache of chunk maps
	IndexHits, IndexMisses int64  // lookups in the index's block cache
	// Bytes of large reads that were, and were not, in the cache of data; what it holds, and how much of its memory
	// is being sent or filled.
	DataHits, DataMisses     uint64
	DataCached, DataBorrowed int64

	Segments, FreeSegments int
	LiveBytes              int64 // with references
	GarbageBytes           int64 // the cleaner's debt: in segments, but dead
	IndexSize              uint64
	Pending                int64 // clones and clearings not yet made real
	Snapshots, Pins        int
	ScrubbedBytes          uint64 // of data, verified by the scrubber
	ScrubProblems          int64  // see ScrubStatus
}

// DataCacheCounts returns the bytes of large reads that were, and were not, in the cache of data.
func (v *Volume) DataCacheCounts() (hits, misses uint64) {
	return v.data.hits.Load(), v.data.misses.Load()
}

// Stats returns the volume's counters.
func (v *Volume) Stats() Stats {
	l := v.log.Stats()
	m := v.index.Metrics()
	s := Stats{
		DataWritten: v.wrote.data.Load(), DataRead: v.read.Load(),
		LogBytes: l.Bytes, Groups: l.Groups, Syncs: l.Syncs, MovedBytes: v.wrote.moved.Load(),
		ChunkHits: v.chunks.hits.Load(), ChunkMisses: v.chunks.misses.Load(),
		IndexHits: m.BlockCache.Hits, IndexMisses: m.BlockCache.Misses,
		IndexSize: m.DiskSpaceUsage(), Pending: v.pendings.count.Load(), Snapshots: len(*v.snaps.live.Load()), Pins: v.pins.count(),
	}
	for i := range m.Levels {
		s.IndexBytes += m.Levels[i].TableBytesFlushed + m.Levels[i].TableBytesCompacted
	}
	s.Segments, s.FreeSegments = v.log.Counts()
	v.space.mu.RLock()
	s.LiveBytes = v.space.live
	v.space.mu.RUnlock()
	s.DataHits, s.DataMisses = v.DataCacheCounts()
	s.DataCached, s.DataBorrowed = v.data.holds()
	scrub := v.ScrubStatus()
	s.ScrubbedBytes, s.ScrubProblems = scrub.Verified, scrub.Problems
	s.GarbageBytes = max(0, int64(s.Segments)*v.id.segmentSize-s.LiveBytes)
	return s
}
