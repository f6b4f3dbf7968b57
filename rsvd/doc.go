// Package rsvd is the room of shared virtual disks (MS-RSVD): the VHDX
// container, the SCSI target with its persistent reservations, VHD sets. It is
// empty so far: a host that asks for a shared disk is told that the share
// does not support it (STATUS_INVALID_DEVICE_REQUEST).
package rsvd
