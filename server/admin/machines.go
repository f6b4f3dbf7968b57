package admin

import (
	"context"
	"slices"

	"gabion/auth"
	"gabion/server/vm"
)

var (
	vmName    = Param{Name: "name", Positional: true, Required: true, Help: "the machine's name"}
	groupName = Param{Name: "name", Positional: true, Required: true, Help: "the group's name"}
)

var machineOperations = []Operation{{
	Name: "vm list", Method: "GET", Path: "/v1/vms", Role: auth.RoleReadOnly, Scoped: true,
	Summary: "List the virtual machines: those made, and folders with virtual disks",
	Example: "gabion vm list",
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		list, err := s.Machines.List()
		if err != nil || c.holds(auth.Array) {
			return list, err
		}
		return slices.DeleteFunc(list, func(m vm.Machine) bool {
			t, err := s.Machines.Resolve("vm:" + m.Name)
			return err != nil || !s.may(c, t)
		}), nil
	},
}, {
	Name: "vm add", Method: "POST", Path: "/v1/vms", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Make a virtual machine of files and folders, to be named vm:NAME",
	Example: "gabion vm add sql1 --part vms/sql1 --part vms/data/sql1-log.vhdx",
	Params:  []Param{vmName, {Name: "part", Kind: List, Required: true, Help: "SHARE/PATH of a file or folder that belongs to it"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		m, err := s.Machines.Add(c.Str("name"), c.Strs("part"))
		return m, targetRefusal(err)
	},
}, {
	Name: "vm remove", Method: "DELETE", Path: "/v1/vms/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Forget a virtual machine; its files stay",
	Example: "gabion vm remove sql1",
	Params:  []Param{vmName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, targetRefusal(s.Machines.Remove(c.Str("name")))
	},
}, {
	Name: "group list", Method: "GET", Path: "/v1/groups", Role: auth.RoleReadOnly, Scoped: true,
	Summary: "List the groups of virtual machines",
	Example: "gabion group list",
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		list := s.Machines.Groups()
		if c.holds(auth.Array) {
			return list, nil
		}
		return slices.DeleteFunc(list, func(g vm.Group) bool {
			t, err := s.Machines.Resolve("group:" + g.Name)
			return err != nil || !s.may(c, t)
		}), nil
	},
}, {
	Name: "group set", Method: "PUT", Path: "/v1/groups/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Make a group of virtual machines, to be named group:NAME, or change it",
	Example: "gabion group set payroll --vm sql1 --vm web1",
	Params:  []Param{groupName, {Name: "vm", Kind: List, Required: true, Help: "a machine that is in it"}},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		g, err := s.Machines.SetGroup(c.Str("name"), c.Strs("vm"))
		return g, targetRefusal(err)
	},
}, {
	Name: "group remove", Method: "DELETE", Path: "/v1/groups/{name}", Role: auth.RoleStorageAdmin, Mutates: true,
	Summary: "Forget a group; its machines stay",
	Example: "gabion group remove payroll",
	Params:  []Param{groupName},
	Run: func(_ context.Context, s *System, c *Call) (any, error) {
		return nil, targetRefusal(s.Machines.RemoveGroup(c.Str("name")))
	},
}}
