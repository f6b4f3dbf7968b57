package server

import (
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"gabion/protocol/ntstatus"
	"gabion/protocol/smb2"
)

// Interface is an address that clients can open further channels to.
type Interface struct {
	Index     uint32 // the same for all addresses of one adapter, not 0
	Address   netip.Addr
	LinkSpeed uint64 // bits per second
	// RSS invites clients to open several connections [MS-SMB2] 2.2.32.5.
	RSS bool
}

// queryInterfaces is [MS-SMB2] 3.3.5.15.11.
func queryInterfaces(r *request, req *smb2.IoctlRequest) {
	if len(req.Input) != 0 {
		r.fail(ntstatus.InvalidParameter)
		return
	}
	if !r.dialect().Is3x() {
		r.fail(ntstatus.InvalidDeviceRequest)
		return
	}
	find := r.server().cfg.Interfaces
	if find == nil {
		find = func() []Interface { return machineInterfaces(r.conn.local.Addr()) }
	}
	var list []smb2.NetworkInterfaceInfo
	for _, i := range find() {
		if i.Index == 0 {
			continue
		}
		info := smb2.NetworkInterfaceInfo{IfIndex: i.Index, LinkSpeed: i.LinkSpeed, Address: i.Address}
		if i.RSS {
			info.Capability |= smb2.InterfaceRSS
		}
		list = append(list, info)
	}
	output := smb2.AppendNetworkInterfaces(nil, list)
	if uint32(len(output)) > req.MaxOutputResponse {
		r.fail(ntstatus.BufferTooSmall)
		return
	}
	r.respondIoctl(ntstatus.Success, req, output)
}

// machineInterfaces lists the machine's addresses that a client who reached local can
// use too: a listener on a loopback address offers that alone, link-local addresses are
// left out.
func machineInterfaces(local netip.Addr) []Interface {
	adapters, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var list []Interface
	for _, a := range adapters {
		if a.Flags&net.FlagUp == 0 || (a.Flags&net.FlagLoopback != 0) != local.IsLoopback() {
			continue
		}
		addresses, err := a.Addrs()
		if err != nil {
			continue
		}
		for _, address := range addresses {
			n, ok := address.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(n.IP)
			if !ok || ip.IsLinkLocalUnicast() || ip.Unmap().Is4() != local.Is4() && local.IsLoopback() {
				continue
			}
			list = append(list, Interface{Index: uint32(a.Index), Address: ip.Unmap(), LinkSpeed: linkSpeed(a.Name), RSS: true})
		}
	}
	return list
}

// linkSpeed is what the kernel says of an adapter; virtual ones count as 10 Gbit/s.
func linkSpeed(adapter string) uint64 {
	const unknown = 10_000_000_000
	b, err := os.ReadFile("/sys/class/net/" + adapter + "/speed")
	if err != nil {
		return unknown
	}
	mbit, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 32)
	if err != nil || mbit <= 0 {
		return unknown
	}
	return uint64(mbit) * 1_000_000
}
