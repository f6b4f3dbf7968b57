// Package rsvd is the room of shared virtual disks ([MS-RSVD], server side): several
// guests open one VHDX file, or the VHD set that names it, as a SCSI disk and decide
// by persistent reservations who may write.
//
// Nouns. A disk is one VHDX payload file of one volume, whoever's name led to it: a
// .vhdx opened directly or the file that a .vhds names. Its key is the payload's file
// id, which survives renaming and conversion to a VHD set and is never given to a
// copy; reservations, snapshots and the name the guests see (VPD 83h) hang on it. An
// Open is one shared open of package server. Package vhdx is the container, package
// scsi the logical unit with its reservations.
//
// How package server uses it:
//
//	Service.Support(volume, id, open)   FSCTL_QUERY_SHARED_VIRTUAL_DISK_SUPPORT
//	Service.Virtual(context)            whether a CREATE with a context is one of the disk
//	Service.Open(OpenRequest)           a CREATE whose name ends in :SharedVirtualDisk, after the
//	                                    container was opened and every other create context judged
//	Open.Context                        the context to answer with
//	Open.Read, Open.Write, Open.Flush   READ, WRITE, FLUSH: offsets on the virtual disk
//	Open.Tunnel                         both tunnel FSCTLs
//	Open.Close                          CLOSE, and the end of a persistent open nobody reclaimed
//	Open.Sense, OpenRequest.Sense       what a persistent open keeps over a restart
//	Service.Prune                       at start, when persistent opens are open again
//
// The server keeps what is its own: access checks, share modes (all shared opens of a
// file are one internal opener), durable handles, signing. LOCK on a shared open is
// STATUS_LOCK_NOT_GRANTED, offload is refused with STATUS_OFFLOAD_READ_FILE_NOT_SUPPORTED
// and STATUS_OFFLOAD_WRITE_FILE_NOT_SUPPORTED. Every completion carries the log
// position that must be durable before the reply leaves (store.Volume.OnDurable).
//
// Read, Write and Tunnel take a callback because they may have to wait: for a
// snapshot's frozen moment, or for commands that a reservation change fences. Such a
// request is a record in the disk's queue, returned as a Waiting that can be cancelled; no
// goroutine blocks.
//
// A disk lives from its first shared open to its last close:
//
//	Absent ──open──▶ Running ──block──▶ Draining ──idle──▶ Blocked ──unblock, deadline, close──▶ Running ──last close──▶ Absent
//
// At the last close registrations and reservation go unless APTPL was asked for.
// Until then they are in the volume's KV before any initiator hears GOOD, so a server
// that starts again finds them before the first reclaimed open does I/O.
//
// Snapshots of a VHD set are snapshots of the payload file by the store: taking one
// moves no data, applying one restores by metadata, and the changes between two are
// what the store says differs, told in blocks of the virtual disk. A writeable snapshot has
// a file beside the payload that begins as its clone. A guest's copy token is a pin of the
// payload.
//
// Locks, top down:
//
//	Service.mu     the table of disks
//	disk.loading   held while a disk is opened or released, over reads of the container
//	disk.mu        opens, gate, transactions, snapshots; held over no call
//	Open.mu        the sense ring
package rsvd
