package main

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"ray/internal/session"
)

// listener is a TCP port on which a process of a session listens.
type listener struct {
	at   netip.AddrPort
	pid  int
	what string // the process
}

// checkOpenPortsCmd is `ray check-open-ports`. Upstream asks a service on the
// internet to try each port; here the machine's own tables say what listens
// where, and nobody is told unless --service-url names such a service.
func checkOpenPortsCmd() *cobra.Command {
	var ask launchFlags
	var service string
	cmd := &cobra.Command{
		Use: "check-open-ports", Short: "Show the ports that this machine's nodes listen on, and to whom they are open.", Args: exactArgs(),
		Long: "Show the TCP ports on which the processes of this machine's nodes listen, and which of them other machines may\n" +
			"reach. Nothing is sent anywhere. Ports between machines ask for the cluster's token. The status is 1 if a port is\n" +
			"open to other machines in a cluster without a token.\n\n" +
			"With --service-url the numbers of the ports are sent there, and the service says which of them it could open.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			all, err := session.List()
			if err != nil {
				return err
			}
			if service == "" || len(all) == 0 {
				return checkOpenPorts(cmd.OutOrStdout(), all)
			}
			if ok, err := ask.confirm(cmd, "Send the numbers of this machine's open ports to "+service+"?"); err != nil || !ok {
				return err
			}
			return portService{service}.report(cmd.Context(), cmd.OutOrStdout(), all)
		},
	}
	cmd.Flags().BoolVarP(&ask.yes, "yes", "y", false, "do not ask before ports are sent to --service-url")
	new(look).bindHidden(cmd.Flags())
	cmd.Flags().StringVar(&service, "service-url", "", "URL of a service outside that tries to open the ports (default: nobody is asked)")
	return cmd
}

func checkOpenPorts(out io.Writer, all []session.Announcement) error {
	if len(all) == 0 {
		_, err := fmt.Fprintln(out, "No node runs on this machine: nothing of a cluster listens here.")
		return err
	}
	bare := false
	for _, a := range all {
		guard := "asks for the token"
		if a.TokenPath == "" {
			guard = "asks for NOTHING"
		}
		if _, err := fmt.Fprintf(out, "Node %s (%s)\n", a.NodeID, a.NodeIP); err != nil {
			return err
		}
		for _, l := range listenersOf(family(a)) {
			reach := "only this machine"
			if !l.at.Addr().IsLoopback() {
				reach = "other machines, " + guard
				bare = bare || a.TokenPath == ""
			}
			if _, err := fmt.Fprintf(out, "  %-22s %-28s %s\n", l.at, reach, l.what); err != nil {
				return err
			}
		}
	}
	if bare {
		return fmt.Errorf("a cluster without a token is open to other machines: start it without RAY_AUTH_MODE=disabled, or close the port")
	}
	return nil
}

// listenersOf lists the ports of the processes, by port.
func listenersOf(processes []session.Process) []listener {
	sockets := map[string]netip.AddrPort{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		readListeners(table, sockets)
	}
	var out []listener
	for _, p := range processes {
		fds, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", p.PID))
		for _, fd := range fds {
			target, err := os.Readlink(fd)
			if err != nil {
				continue
			}
			if at, ok := sockets[target]; ok {
				name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", p.PID))
				out = append(out, listener{at, p.PID, fmt.Sprintf("%s (pid %d)", strings.TrimSpace(string(name)), p.PID)})
				delete(sockets, target) // a child that inherited it is not another port
			}
		}
	}
	slices.SortFunc(out, func(a, b listener) int { return a.at.Compare(b.at) })
	return out
}

// readListeners adds the sockets that listen, in the form in which
// /proc/pid/fd links name them.
func readListeners(table string, into map[string]netip.AddrPort) {
	text, err := os.ReadFile(table)
	if err != nil {
		return
	}
	const listen = "0A"
	for line := range strings.Lines(string(text)) {
		field := strings.Fields(line)
		if len(field) < 10 || field[3] != listen {
			continue
		}
		if at, ok := procAddress(field[1]); ok {
			into["socket:["+field[9]+"]"] = at
		}
	}
}

// procAddress reads an address as /proc/net has it: words of four bytes in the
// machine's order, a colon, the port.
func procAddress(text string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(text, ":")
	raw, err := hex.DecodeString(host)
	number, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(raw)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.BigEndian.PutUint32(raw[i:], binary.NativeEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr.Unmap(), uint16(number)), ok
}
