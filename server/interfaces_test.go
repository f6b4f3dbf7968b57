package server

import (
	"net"
	"net/netip"
	"testing"
)

func TestInterfaceRules(t *testing.T) {
	adapter := func(index int, name string) net.Interface { return net.Interface{Index: index, Name: name} }
	storage, management := adapter(2, "no-such-storage"), adapter(3, "no-such-management")
	ip := netip.MustParseAddr
	all := []address{
		{management, ip("192.0.2.7")}, {storage, ip("10.1.0.5")}, {storage, ip("fe80::1")}, {storage, ip("10.2.0.5")}, {storage, ip("2001:db8::5")},
	}
	const unknown = 10_000_000_000
	for _, tt := range []struct {
		rules []string
		want  []Interface
	}{
		{[]string{"10.2.0.0/16,speed=25G", "10.1.0.5"}, []Interface{{2, ip("10.2.0.5"), 25_000_000_000, true}, {2, ip("10.1.0.5"), unknown, true}}},
		{[]string{"no-such-management,no-rss,speed=100m"}, []Interface{{3, ip("192.0.2.7"), 100_000_000, false}}},
		{[]string{"10.1.0.5", "10.0.0.0/8"}, []Interface{{2, ip("10.1.0.5"), unknown, true}, {2, ip("10.2.0.5"), unknown, true}}},
		{[]string{"::/0"}, []Interface{{2, ip("2001:db8::5"), unknown, true}}},
		{[]string{"fe80::1"}, []Interface{{2, ip("fe80::1"), unknown, true}}},
		{[]string{"198.51.100.1"}, nil},
	} {
		var rules []InterfaceRule
		for _, text := range tt.rules {
			r, err := ParseInterface(text)
			if err != nil {
				t.Fatal(err)
			}
			rules = append(rules, r)
		}
		got := choose(rules, all)
		same := len(got) == len(tt.want)
		for i := range got {
			same = same && got[i] == tt.want[i]
		}
		if !same {
			t.Errorf("%q: %v, want %v", tt.rules, got, tt.want)
		}
	}
	for _, bad := range []string{"", "10.0.0.0/40", "eth0,speed=fast", "eth0,speed=0", "eth0,mtu=9000", "eth0,speed=99999999999999T"} {
		if _, err := ParseInterface(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
