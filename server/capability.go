package server

import "fmt"

// Capability is something a Gabion server can do and may advertise. NEGOTIATE,
// VALIDATE_NEGOTIATE_INFO, TREE_CONNECT, the file system attributes and the FSCTL
// dispatcher all read the one table made by newCapabilities.
type Capability uint8

const (
	CapLeasing Capability = iota
	CapLargeMTU
	CapMultiChannel
	CapPersistentHandles
	CapDirectoryLeasing
	CapEncryption
	CapNotifications
	CapResiliency
	CapCluster    // SMB2_SHARE_CAP_CLUSTER and STYPE_CLUSTER_SOFS on shares with shared disks
	CapScaleOut   // SMB2_SHARE_CAP_SCALEOUT on them
	CapSharedVHDX // [MS-SMB2] IsSharedVHDSupported
	CapOffload    // offloaded data transfer: nothing advertises it, clients try
	// CapBlockRefcounting is FILE_SUPPORTS_BLOCK_REFCOUNTING: extents can be duplicated.
	CapBlockRefcounting
	CapStorageQoS
	CapDFS
	capCount
)

var capabilityNames = [capCount]string{
	"leasing", "large MTU", "multichannel", "persistent handles", "directory leasing", "encryption",
	"notifications", "resiliency", "cluster", "scale-out", "shared VHDX", "offload", "block refcounting", "storage QoS", "DFS",
}

func (c Capability) String() string {
	if c < capCount {
		return capabilityNames[c]
	}
	return fmt.Sprintf("Capability(%d)", uint8(c))
}

// CapabilitySet is a set of capabilities.
type CapabilitySet uint32

// Has reports whether c is in the set.
func (s CapabilitySet) Has(c Capability) bool { return s&(1<<c) != 0 }

// With returns the set with c added.
func (s CapabilitySet) With(c ...Capability) CapabilitySet {
	for _, c := range c {
		s |= 1 << c
	}
	return s
}

// Without returns the set with c removed.
func (s CapabilitySet) Without(c Capability) CapabilitySet { return s &^ (1 << c) }

// needs lists what has to be true for a capability to be true: combinations that
// a client would act upon wrongly are refused at start.
var needs = []struct{ cap, needs Capability }{
	{CapPersistentHandles, CapLeasing},
	{CapDirectoryLeasing, CapLeasing},
	{CapScaleOut, CapCluster},
	{CapCluster, CapPersistentHandles},
	// [MS-RSVD] 3.2.3: the service is there when a share is of the type
	// STYPE_CLUSTER_SOFS. Hosts look at SCALEOUT, CLUSTER and CONTINUOUS_AVAILABILITY
	// before they attach a shared disk ([MS-HVRS] C0002, C0003).
	{CapSharedVHDX, CapPersistentHandles},
	{CapSharedVHDX, CapScaleOut},
}

// ScaleOut reports whether a share is of the type STYPE_CLUSTER_SOFS.
func (s *Server) ScaleOut(sh *Share) bool { return s.shareCapabilities(sh).Has(CapScaleOut) }

// shareCapabilities are those of the server's that are true of a share.
func (s *Server) shareCapabilities(sh *Share) CapabilitySet {
	c := s.caps
	if !sh.SharedVHDX {
		c = c.Without(CapSharedVHDX).Without(CapScaleOut).Without(CapCluster)
	}
	if !sh.ContinuouslyAvailable {
		c = c.Without(CapPersistentHandles)
	}
	return c
}

func (s CapabilitySet) validate() error {
	for _, n := range needs {
		if s.Has(n.cap) && !s.Has(n.needs) {
			return fmt.Errorf("capability %v needs %v", n.cap, n.needs)
		}
	}
	return nil
}
