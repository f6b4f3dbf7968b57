// Command gabion is the storage array: `gabion serve` runs it, the other verbs
// talk to a running one.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is set by the linker for releases.
var version = "0.1.0-dev"

// exitError carries a specific exit code; main prints its cause.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gabion:", err)
		var e *exitError
		if errors.As(err, &e) {
			os.Exit(e.code)
		}
		os.Exit(1)
	}
}

func command() *cobra.Command {
	root := &cobra.Command{
		Use:           "gabion",
		Short:         "A storage array for Hyper-V in one binary",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	data := os.Getenv("GABION_DATA")
	if data == "" {
		data = defaultData
	}
	flags := root.PersistentFlags()
	flags.String("data", data, "data directory of the server (GABION_DATA)")
	flags.String("server", os.Getenv("GABION_ADMIN"), "https://HOST:PORT of a server elsewhere (GABION_ADMIN)")
	flags.String("token-file", os.Getenv("GABION_TOKEN_FILE"), "file of mode 0600 with the token for --server (GABION_TOKEN_FILE)")
	flags.String("ca-file", os.Getenv("GABION_CA_FILE"), "certificates that --server's may be signed by (GABION_CA_FILE; default the system's)")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see '%s --help'", err, c.CommandPath())
	})
	root.AddCommand(serveCommand(), checkCommand(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run:   func(c *cobra.Command, _ []string) { fmt.Fprintln(c.OutOrStdout(), "gabion", version) },
	})
	addVerbs(root)
	root.AddCommand(generateCommand(root))
	return root
}
