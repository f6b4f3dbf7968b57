package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"

	"gabion/protocol/ntstatus"
	"gabion/server/object"
	"gabion/store"
)

// A persistent open is recorded in the side store of its volume, whole, with every change of
// it. A record is one entry of the volume's log: it is durable with the
// group commit that its reply waits for anyway, and precedes in the log whatever
// was done because of it.
const (
	recordBucket = "persistent-opens" // by persistent id
	serverBucket = "server"
	incarnation  = "incarnation" // how often the volume has been served
)

func recordKey(persistent uint64) string { return fmt.Sprintf("%016x", persistent) }

// record writes what opens of one volume are now, those that are persistent, in one step.
// The position is also where Share.since waits.
func (s *Server) record(opens ...*object.Open) (store.Pos, error) {
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	var edits []store.KVEdit
	var of []*file
	for _, o := range opens {
		f := fileOf(o)
		if f == nil || f.forgotten {
			continue
		}
		state := o.Export()
		if state.Durable.Kind != object.Persistent {
			continue
		}
		edits, of = append(edits, store.KVEdit{Bucket: recordBucket, Key: recordKey(f.persistent), Value: f.encode(state)}), append(of, f)
	}
	if edits == nil {
		return 0, nil
	}
	pos, err := opens[0].Tree().Store().KV().Apply(edits)
	if err != nil {
		return 0, err
	}
	for _, f := range of {
		f.recorded = true
		f.share.wrote(pos)
	}
	return pos, nil
}

// forget removes the record of an open that is closed, for good.
func (s *Server) forget(f *file) store.Pos {
	if !f.share.ContinuouslyAvailable {
		return 0
	}
	s.recordMu.Lock()
	defer s.recordMu.Unlock()
	if f.forgotten {
		return 0
	}
	f.forgotten = true
	select {
	case <-s.stop: // the volume may belong to the next process already
		return 0
	default:
	}
	if !f.recorded {
		return 0
	}
	pos, err := f.share.Tree.Store().KV().Apply([]store.KVEdit{{Bucket: recordBucket, Key: recordKey(f.persistent)}})
	if err != nil {
		s.log.Error("removing the record of a persistent open", "error", err)
		return 0
	}
	f.share.wrote(pos)
	return pos
}

// persist makes the first record of f; false if it cannot be had.
func (f *file) persist() bool {
	_, err := f.record()
	return err == nil
}

// record brings the record of f up to date, if it is persistent, and returns what the reply to
// the request that changed it waits for.
func (f *file) record() (store.Pos, error) {
	if f.obj.Durable().Kind != object.Persistent {
		return 0, nil
	}
	pos, err := f.server.record(f.obj)
	if err != nil {
		f.server.log.Error("recording a persistent open", "error", err)
	}
	return pos, err
}

// recorded is what the reply to a CREATE that gave f waits for, besides pos.
func (c *creation) recorded(f *file, pos store.Pos) store.Pos {
	if _, leased := f.obj.Lease(); leased || f.obj.Durable().Kind == object.Persistent {
		return f.share.since(pos)
	}
	return pos
}

// wrote notes the position of a record.
func (sh *Share) wrote(pos store.Pos) {
	for {
		last := sh.records.Load()
		if uint64(pos) <= last || sh.records.CompareAndSwap(last, uint64(pos)) {
			return
		}
	}
}

// since is the later of pos and of the last record of the share: what a reply waits
// for that says something about a recorded open.
func (sh *Share) since(pos store.Pos) store.Pos { return max(pos, store.Pos(sh.records.Load())) }

// RecoverOpens brings back the persistent opens of the volumes that were served before, for
// their clients to reclaim: [MS-SMB2] 3.3.5.9.12. It is called once, after the shares
// have been added and before Serve. It also makes this server a new incarnation, so that no
// FileId of an earlier one is given out again.
func (s *Server) RecoverOpens(vols ...store.Volume) error {
	n, err := incarnate(vols)
	if err != nil {
		return fmt.Errorf("incarnation of the server: %w", err)
	}
	s.opens.adopt(n)
	for _, vol := range vols {
		if err := s.recoverOpens(vol); err != nil {
			return fmt.Errorf("persistent opens: %w", err)
		}
	}
	return nil
}

// recoverOpens is RecoverOpens for one volume.
func (s *Server) recoverOpens(vol store.Volume) error {
	var stale []store.KVEdit
	count := 0
	type entry struct {
		key   string
		value []byte
	}
	var entries []entry
	err := vol.KV().Scan(recordBucket, "", func(key string, value []byte) bool {
		entries = append(entries, entry{key, append([]byte(nil), value...)})
		return true
	})
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := s.recoverOpen(vol, e.key, e.value); err != nil {
			s.log.Warn("a persistent open is not recovered", "id", e.key, "error", err)
			stale = append(stale, store.KVEdit{Bucket: recordBucket, Key: e.key})
			continue
		}
		count++
	}
	// What no open is there for any more, and did not ask to stay, goes now.
	if _, err := s.cfg.SharedDisks.Prune(vol, func(store.FileID) bool { return false }); err != nil {
		return fmt.Errorf("reservations of shared disks: %w", err)
	}
	if len(entries) > 0 {
		s.log.Info("persistent opens", "recovered", count, "dropped", len(stale))
	}
	if stale == nil {
		return nil
	}
	_, err = vol.KV().Apply(stale)
	return err
}

// incarnate counts how often the volumes have been served; the count is durable on all of
// them when it returns, and higher than it was on any.
func incarnate(vols []store.Volume) (uint64, error) {
	n := uint64(0)
	for _, vol := range vols {
		old, err := vol.KV().Get(serverBucket, incarnation)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return 0, err
		case len(old) != 8:
			return 0, fmt.Errorf("%d bytes instead of 8", len(old))
		default:
			n = max(n, binary.LittleEndian.Uint64(old))
		}
	}
	n++
	for _, vol := range vols {
		pos, err := vol.KV().Apply([]store.KVEdit{{Bucket: serverBucket, Key: incarnation, Value: binary.LittleEndian.AppendUint64(nil, n)}})
		if err != nil {
			return 0, err
		}
		if err := vol.Wait(pos); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// recoverOpen makes a disconnected open of a record.
func (s *Server) recoverOpen(vol store.Volume, key string, value []byte) error {
	var rec openRecord
	id, err := strconv.ParseUint(key, 16, 64)
	if err != nil {
		return err
	}
	if err := rec.decode(value); err != nil {
		return err
	}
	share := s.Share(rec.Share)
	switch {
	case share == nil || share.IsPipe() || share.Tree.Store() != vol:
		return fmt.Errorf("share %q: %w", rec.Share, ErrNoShare)
	case !share.ContinuouslyAvailable:
		return fmt.Errorf("share %q is no longer continuously available", rec.Share)
	}
	f := rec.restored(s, share, id)
	o, status := share.Tree.Import(rec.State)
	if status != ntstatus.Success {
		return status
	}
	f.obj = o
	f.locks = o.LockCount()
	o.SetTag(f)
	if rec.Disk != nil {
		if status := f.recoverDisk(rec.Disk); status != ntstatus.Success {
			o.Close()
			return status
		}
	}
	if f.bind(rec.State.Durable.Owner); f.binding != nil {
		f.binding.Restore(rec.Flow)
	}
	s.durables.add(f)
	return nil
}
