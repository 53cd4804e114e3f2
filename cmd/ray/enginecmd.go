package main

import (
	"io"
	"net"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"ray/providers/docker"
)

// engineCmd is `ray __engine`: the agent through which a head in a container
// reaches the engine of its machine; the docker provider starts it.
func engineCmd() *cobra.Command {
	return &cobra.Command{
		Use: "__engine DIR", Hidden: true, Args: exactArgs("dir"),
		RunE: func(cmd *cobra.Command, args []string) error {
			signal.Ignore(syscall.SIGHUP, syscall.SIGINT)
			return docker.Serve(cmd.Context(), args[0])
		},
	}
}

// dialCmd is `ray __dial`: it connects its input and output to an address, for
// whoever can run a command on a machine and nothing else.
func dialCmd() *cobra.Command {
	return &cobra.Command{
		Use: "__dial ADDRESS", Hidden: true, Args: exactArgs("address"),
		RunE: func(cmd *cobra.Command, args []string) error {
			conn, err := (&net.Dialer{}).DialContext(cmd.Context(), "tcp", args[0])
			if err != nil {
				return err
			}
			defer conn.Close()
			var out sync.WaitGroup
			out.Go(func() { _, _ = io.Copy(cmd.OutOrStdout(), conn) })
			go func() { // ends with the input, or with the process
				_, _ = io.Copy(conn, cmd.InOrStdin())
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			out.Wait()
			return nil
		},
	}
}
