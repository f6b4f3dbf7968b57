package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gabion/server/admin"
	"gabion/store/block"
)

// errDamaged makes check exit with 1 after it has printed its findings.
var errDamaged = errors.New("the volume is damaged")

func checkCommand() *cobra.Command {
	c := &cobra.Command{
		Use:     "check",
		Short:   "Verify a volume: a stopped one, or the running one through its server",
		Example: "  gabion check --data /var/lib/gabion\n  gabion check --rebuild-index --data /var/lib/gabion",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			data, _ := c.Flags().GetString("data")
			asJSON, _ := c.Flags().GetBool("json")
			rebuild, _ := c.Flags().GetBool("rebuild-index")
			result, err := check(c.Context(), data, rebuild)
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
					fmt.Fprintf(c.OutOrStdout(), "%s\n", strings.Join(strings.Fields(d.File+" "+d.Range+": "+d.What), " "))
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
	c.Flags().Bool("rebuild-index", false, "make the index of a stopped volume anew first, from its second index and the log")
	return c
}

// check asks the running server, or opens the volume itself when there is none.
func check(ctx context.Context, data string, rebuild bool) (admin.CheckResult, error) {
	var result admin.CheckResult
	if client, err := admin.Dial(data); err == nil {
		if rebuild {
			return result, fmt.Errorf("the server of %s runs: stop it to rebuild the index", data)
		}
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
	var found findings
	verify := block.Check
	if rebuild {
		verify = block.Rebuild
	}
	sum, err := verify(block.Options{Dir: dir}, found.options(os.Stderr))
	if err != nil {
		return result, volumeError(data, err)
	}
	return found.result(sum), nil
}

// check verifies the running volume for the admin API.
func (a *array) check(context.Context) (admin.CheckResult, error) {
	var found findings
	sum, err := a.volume.Check(found.options(nil))
	return found.result(sum), err
}

// findings collects what a check reports.
type findings []admin.Damage

// options report problems to f, and progress to a terminal if there is one.
func (f *findings) options(progress *os.File) block.CheckOptions {
	o := block.CheckOptions{Found: func(p block.Problem) { *f = append(*f, damage(p)) }}
	if progress != nil && term.IsTerminal(int(progress.Fd())) {
		o.Progress = func(done, total int64) {
			if total > 0 {
				fmt.Fprintf(progress, "\rverified %d %%", done*100/total)
			}
		}
	}
	return o
}

// damage is a problem as the admin API tells it.
func damage(p block.Problem) admin.Damage {
	file := p.Path
	if file == "" && p.File != 0 {
		file = fmt.Sprintf("file %d", p.File)
	}
	if p.Stream != "" {
		file += ":" + p.Stream
	}
	d := admin.Damage{File: file, What: p.What}
	if p.Range.Len > 0 {
		d.Range = fmt.Sprintf("[%d,+%d)", p.Range.Off, p.Range.Len)
	}
	return d
}

func (f *findings) result(sum block.Summary) admin.CheckResult {
	damage := []admin.Damage(*f)
	if damage == nil {
		damage = []admin.Damage{}
	}
	return admin.CheckResult{Clean: sum.Problems == 0, Files: sum.Files, Bytes: sum.Bytes, Damage: damage}
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
