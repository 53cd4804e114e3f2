package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/session"
	"ray/internal/spec"
	"ray/internal/wire"
)

// stackTimeout bounds the wait for a daemon of this machine.
const stackTimeout = 15 * time.Second

// stackEnds is how long a daemon that does not answer may take to be gone.
const stackEnds = 3 * time.Second

// stackCmd is `ray stack`.
func stackCmd() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "stack", Short: "Show what the drivers and workers of this machine do: their Python stacks.", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return printStacks(cmd.OutOrStdout(), asJSON) },
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print them as JSON")
	return cmd
}

// ended tells whether a daemon is gone that does not answer. One that has
// stopped listening is on its way, for a moment.
func ended(a session.Announcement) bool {
	for end := time.Now().Add(stackEnds); ; time.Sleep(20 * time.Millisecond) {
		live, err := session.List()
		same := func(o session.Announcement) bool { return o.PID == a.PID && o.StartTicks == a.StartTicks }
		if err == nil && !slices.ContainsFunc(live, same) {
			return true
		}
		if time.Now().After(end) {
			return false
		}
	}
}

func printStacks(out io.Writer, asJSON bool) error {
	daemons, err := session.List()
	if err != nil {
		return err
	}
	if len(daemons) == 0 {
		return errors.New("no Ray daemon runs on this machine: `ray stack` shows the processes of the machine where it is run")
	}
	all := []wire.Stack{}
	var failed []error
	for _, a := range daemons {
		rows, err := stacksOf(a.Socket)
		if err != nil && !ended(a) {
			failed = append(failed, fmt.Errorf("the daemon with pid %d does not answer: %w", a.PID, err))
		}
		all = append(all, rows...)
	}
	slices.SortFunc(all, func(a, b wire.Stack) int { return cmp.Or(strings.Compare(a.Kind, b.Kind), a.PID-b.PID) })
	if asJSON {
		text, err := json.MarshalIndent(all, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "%s\n", text)
		return errors.Join(append(failed, err)...)
	}
	for _, s := range all {
		fmt.Fprintf(out, "== %s, pid %d\n", s.Kind, s.PID)
		if s.Problem != "" {
			fmt.Fprintf(out, "no answer: %s\n", s.Problem)
		}
		fmt.Fprintf(out, "%s\n", s.Text)
	}
	return errors.Join(failed...)
}

// stacksOf asks one daemon of this machine.
func stacksOf(socket string) ([]wire.Stack, error) {
	conn, err := net.DialTimeout("unix", socket, stackTimeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(stackTimeout)); err != nil {
		return nil, err
	}
	hello := wire.Hello{Proto: wire.ProtocolVersion, Role: "observer", Conn: "data", PID: os.Getpid()}
	call := wire.Call{ID: 1, Method: []byte("stacks"), JSON: []byte("{}")}
	if _, err := conn.Write(call.Append(wire.AppendJSON(nil, wire.THello, hello))); err != nil {
		return nil, err
	}
	in := wire.NewReader(conn, 0)
	for {
		f, err := in.Next()
		if err != nil {
			return nil, err
		}
		var info spec.ErrorInfo
		switch f.Type {
		case wire.TFatal:
			return nil, errors.Join(wire.DecodeJSON(f.Type, f.Body, &info), &info)
		case wire.TReply:
			var r wire.Reply
			if err := r.Decode(f); err != nil {
				return nil, err
			}
			if r.Error {
				return nil, errors.Join(json.Unmarshal(r.JSON, &info), &info)
			}
			var rows []wire.Stack
			return rows, json.Unmarshal(r.JSON, &rows)
		}
	}
}
