package object

import "gabion/protocol/dtyp"

type leaseID struct{ client, key dtyp.GUID }

type lease struct{}
