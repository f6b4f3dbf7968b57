package server

import (
	"fmt"
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
	var list []Interface
	for _, a := range allAddresses() {
		loopback := a.adapter.Flags&net.FlagLoopback != 0
		if loopback != local.IsLoopback() || a.ip.IsLinkLocalUnicast() || loopback && a.ip.Is4() != local.Is4() {
			continue
		}
		list = append(list, Interface{Index: uint32(a.adapter.Index), Address: a.ip, LinkSpeed: linkSpeed(a.adapter.Name), RSS: true})
	}
	return list
}

// InterfaceRule chooses addresses of the machine to offer.
type InterfaceRule struct {
	network netip.Prefix
	adapter string // instead of a network
	speed   uint64 // instead of what the kernel says, unless 0
	noRSS   bool
}

// ParseInterface reads ADDRESS|NETWORK|ADAPTER[,speed=BITS][,no-rss]: an address, a network in CIDR
// notation, or the name of an adapter; a speed is in bits per second, with K, M, G or T (powers of
// 1000) behind it.
func ParseInterface(text string) (InterfaceRule, error) {
	var r InterfaceRule
	words := strings.Split(text, ",")
	if p, err := netip.ParsePrefix(words[0]); err == nil {
		r.network = p.Masked()
	} else if a, err := netip.ParseAddr(words[0]); err == nil {
		r.network = netip.PrefixFrom(a.WithZone(""), a.BitLen())
	} else if r.adapter = words[0]; r.adapter == "" || strings.ContainsAny(r.adapter, "/ =") {
		return r, fmt.Errorf("%q is no address, network or adapter", words[0])
	}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		switch {
		case w == "no-rss":
			r.noRSS = true
		case key == "speed":
			var err error
			if r.speed, err = parseSpeed(value); err != nil {
				return r, err
			}
		default:
			return r, fmt.Errorf("%q is neither speed=BITS nor no-rss", w)
		}
	}
	return r, nil
}

func parseSpeed(text string) (uint64, error) {
	digits, factor := text, uint64(1)
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]&^0x20); i >= 0 {
			for digits = text[:n-1]; i >= 0; i-- {
				factor *= 1000
			}
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || n > ^uint64(0)/factor {
		return 0, fmt.Errorf("%q is not a speed; write bits per second or 10G", text)
	}
	return n * factor, nil
}

// OfferInterfaces is for Config.Interfaces: those addresses of the machine that a rule
// chooses, in the rules' order.
func OfferInterfaces(rules []InterfaceRule) func() []Interface {
	return func() []Interface { return choose(rules, allAddresses()) }
}

// address is an address of the machine and the adapter it is of.
type address struct {
	adapter net.Interface
	ip      netip.Addr
}

func allAddresses() (list []address) {
	adapters, err := net.Interfaces()
	if err != nil {
		return nil
	}
	for _, a := range adapters {
		addresses, err := a.Addrs()
		if err != nil || a.Flags&net.FlagUp == 0 {
			continue
		}
		for _, x := range addresses {
			if n, ok := x.(*net.IPNet); ok {
				if ip, ok := netip.AddrFromSlice(n.IP); ok {
					list = append(list, address{a, ip.Unmap()})
				}
			}
		}
	}
	return list
}

func choose(rules []InterfaceRule, all []address) (list []Interface) {
	offered := map[netip.Addr]bool{}
	for _, r := range rules {
		for _, a := range all {
			if offered[a.ip] || !r.matches(a) {
				continue
			}
			offered[a.ip] = true
			i := Interface{Index: uint32(a.adapter.Index), Address: a.ip, LinkSpeed: r.speed, RSS: !r.noRSS}
			if i.LinkSpeed == 0 {
				i.LinkSpeed = linkSpeed(a.adapter.Name)
			}
			list = append(list, i)
		}
	}
	return list
}

// matches tells; a link-local address has to be named.
func (r InterfaceRule) matches(a address) bool {
	if r.adapter != "" {
		return r.adapter == a.adapter.Name && !a.ip.IsLinkLocalUnicast()
	}
	return r.network.Contains(a.ip) && (!a.ip.IsLinkLocalUnicast() || r.network.IsSingleIP())
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
