package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"gabion/server/admin"
	"gabion/server/qos"
)

// qosOptions checks the settings of storage QoS.
func (s *settings) qosOptions() (o qos.Options, err error) {
	base, err := admin.ParseSize(s.QoSBase)
	switch {
	case err != nil:
		return o, fmt.Errorf("--qos-base: %w", err)
	case s.QoS != "on" && s.QoS != "off":
		return o, fmt.Errorf("--qos: %q is neither on nor off", s.QoS)
	case s.QoSCapacity < 0:
		return o, fmt.Errorf("--qos-capacity: %d is below 0", s.QoSCapacity)
	case s.QoSDepth < 0 || s.QoSDepth > 1<<16:
		return o, fmt.Errorf("--qos-depth: %d is not between 0 and 65536", s.QoSDepth)
	case base < 1 || base > math.MaxInt32:
		return o, fmt.Errorf("--qos-base: %d bytes cannot be an I/O", base)
	}
	return qos.Options{BaseIOSize: int(base), Capacity: uint64(s.QoSCapacity), Depth: int(s.QoSDepth)}, nil
}

// openQoS begins to schedule, unless that is switched off.
func (a *array) openQoS(registry prometheus.Registerer) error {
	if a.QoS == "off" {
		return nil
	}
	o, err := a.qosOptions()
	if err != nil {
		return err
	}
	o.Log, o.Metrics = a.log, registry
	if a.qos, err = qos.Open(a.volume, o); err != nil {
		return err
	}
	a.volume.TakeTurns(a.qos.Background)
	return nil
}

// live shows the result of an operation again and again until the command is interrupted.
// On a terminal each takes the place of the one before.
func live(c *cobra.Command, client *admin.Client, op *admin.Operation, values map[string]any, every time.Duration, show func(io.Writer, json.RawMessage) error) error {
	clear := ""
	if isTerminal(c.OutOrStdout()) {
		clear = "\x1b[H\x1b[2J"
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		out, err := client.Do(c.Context(), op, values)
		if err != nil {
			if c.Context().Err() == context.Canceled {
				return nil
			}
			return err
		}
		fmt.Fprint(c.OutOrStdout(), clear)
		if err := show(c.OutOrStdout(), out); err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-c.Context().Done():
			return nil
		}
	}
}
