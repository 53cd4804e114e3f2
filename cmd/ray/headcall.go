package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/session"
	"ray/internal/spec"
	"ray/internal/wire"
)

// callHead makes one call to the head of a cluster.
func callHead(ctx context.Context, address, method string, in, out any) error {
	address, auth, err := headAccess(address)
	if err != nil {
		return err
	}
	return callHeadAs(ctx, auth, address, method, in, out)
}

// headAccess is where a head is and what opens it.
func headAccess(address string) (string, wire.Auth, error) {
	address, err := headAddress(address)
	if err != nil {
		return "", wire.Auth{}, err
	}
	auth, err := wire.LoadToken()
	return address, auth, err
}

// callHeadAs makes the call with a given token.
func callHeadAs(ctx context.Context, auth wire.Auth, address, method string, in, out any) error {
	dial, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	last := error(nil)
	link, err := wire.DialSession(dial, wire.DialOptions{
		Dialer: wire.Dialer{Auth: auth}, Address: func() string { return address }, Self: "ray-" + fmt.Sprint(os.Getpid()),
		State: func(_ bool, err error) {
			if err != nil {
				last = err
			}
		},
		MaxBackoff: 500 * time.Millisecond,
	})
	if err != nil {
		if last != nil {
			err = last
		}
		return &unreachable{address, err}
	}
	peer := wire.NewPeer(link, wire.PeerOptions{})
	peer.Start()
	defer func() { _ = peer.Close() }()
	call, cancelCall := context.WithTimeout(ctx, 15*time.Second)
	defer cancelCall()
	_, err = peer.Call(call, method, in, out, nil)
	var info *spec.ErrorInfo
	if errors.As(err, &info) {
		return errors.New(info.Message)
	}
	return err
}

// unreachable is that nobody answers as a head.
type unreachable struct {
	address string
	why     error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("cannot reach the head at %s: %s", e.address, e.why)
}
func (e *unreachable) Unwrap() error { return e.why }

// callCmd is `ray __call METHOD`: one call to a head for the Python package,
// when its process is connected to no cluster or to another one. What the call
// takes is JSON on standard input, what it gives on standard output.
func callCmd() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "__call METHOD", Hidden: true, Args: exactArgs("method"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var in, out json.RawMessage
			if err := json.NewDecoder(cmd.InOrStdin()).Decode(&in); err != nil {
				return fmt.Errorf("the call's parameters: %w", err)
			}
			if err := callHead(cmd.Context(), address, args[0], in, &out); err != nil {
				return err
			}
			_, err := cmd.OutOrStdout().Write(out)
			return err
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "host:port of the head")
	return cmd
}

// headAddress is the host:port of the head: the one given, RAY_ADDRESS, or
// that of a cluster on this machine.
func headAddress(given string) (string, error) {
	for _, text := range []string{given, os.Getenv("RAY_ADDRESS")} {
		if text = strings.TrimPrefix(text, "ray://"); text != "" && text != "auto" {
			return text, nil
		}
	}
	if a, ok := localHead(); ok {
		return a.Address, nil
	}
	return "", errors.New("no cluster runs on this machine: give the head's host:port by --address or RAY_ADDRESS")
}

// drainOptions are the flags of `ray drain-node`.
type drainOptions struct {
	address, node, reason, message string
	seconds                        int
}

func drainNodeCmd() *cobra.Command {
	var o drainOptions
	cmd := &cobra.Command{
		Use: "drain-node", Short: "Ask a node to take no new work and to leave.", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			request, err := o.request(cmd.Flags().Changed("deadline-remaining-seconds"))
			if err != nil {
				return err
			}
			var reply wire.DrainReply
			err = callHead(cmd.Context(), o.address, "node.drain", request, &reply)
			if none := (*unreachable)(nil); errors.As(err, &none) {
				//lint:ignore ST1005 scripts look for upstream's words
				return fmt.Errorf("Ray cluster is not found at %s: %w", none.address, none.why)
			}
			if err != nil {
				return err
			}
			if !reply.Accepted {
				//lint:ignore ST1005 scripts look for upstream's words
				return fmt.Errorf("The drain request is not accepted: %s", reply.Message)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.address, "address", "", "host:port of the head")
	f.StringVar(&o.node, "node-id", "", "id of the node (default: the one here)")
	f.StringVar(&o.reason, "reason", "", spec.DrainIdle+" or "+spec.DrainPreempted)
	f.StringVar(&o.message, "reason-message", "", "why, for people")
	f.IntVar(&o.seconds, "deadline-remaining-seconds", 0, "seconds until the node ends in any case (default: no limit)")
	return cmd
}

// drainRequest is the body of the call node.drain.
type drainRequest struct {
	NodeID spec.NodeID `json:"node_id"`
	spec.Drain
}

func (o *drainOptions) request(limited bool) (r drainRequest, err error) {
	switch {
	case o.reason != spec.DrainIdle && o.reason != spec.DrainPreempted:
		return r, usagef("Invalid value for '--reason': '%s' is not one of '%s', '%s'.", o.reason, spec.DrainIdle, spec.DrainPreempted)
	case o.message == "":
		return r, usagef("Missing option '--reason-message'.")
	case o.seconds < 0:
		return r, usagef("Invalid value: --deadline-remaining-seconds cannot be negative, got %d", o.seconds)
	}
	id := o.node
	if id == "" {
		a, ok := session.Newest(session.TempDir())
		if !ok {
			return r, usagef("No node runs under this session root: name one by --node-id.")
		}
		id = a.NodeID
	}
	if err := r.NodeID.UnmarshalText([]byte(id)); err != nil {
		return r, usagef("Invalid value: Invalid hex ID of a Ray node, got %s (--node-id: %s)", id, err)
	}
	if r.NodeID.IsZero() {
		return r, usagef("Invalid value: Invalid hex ID of a Ray node, got %s", id)
	}
	r.Drain = spec.Drain{Reason: o.reason, Message: o.message}
	if limited {
		r.DeadlineMS = time.Now().Add(time.Duration(o.seconds) * time.Second).UnixMilli()
	}
	return r, nil
}

func killActorCmd() *cobra.Command {
	var address, name, namespace string
	var force, noRestart bool
	cmd := &cobra.Command{
		Use: "kill-actor", Short: "End a named actor.", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if name == "" {
				return usagef("Missing option '--name'.")
			}
			var actor spec.ActorInfo
			where := map[string]string{"name": name, "namespace": namespace}
			if err := callHead(cmd.Context(), address, "actor.get", where, &actor); err != nil {
				return err
			}
			kill := wire.ActorKill{ActorID: actor.ID, NoRestart: noRestart, Graceful: !force}
			if err := callHead(cmd.Context(), address, wire.MethodActorKill, kill, nil); err != nil {
				return err
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "Killed actor '%s' (%s).\n", name, actor.ID)
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", "", "host:port of the head")
	f.StringVar(&name, "name", "", "name of the actor")
	f.StringVar(&namespace, "namespace", "default", "namespace of the name")
	f.BoolVar(&force, "force", false, "do not let it finish what it runs")
	f.BoolVar(&noRestart, "no-restart", false, "do not start it again")
	return cmd
}

// globalGCCmd is `ray global-gc`.
func globalGCCmd() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use: "global-gc", Short: "Collect Python's garbage in all processes of the cluster.", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			err := callHead(cmd.Context(), address, wire.MethodCollect, struct{}{}, nil)
			if err == nil {
				_, err = fmt.Fprintln(cmd.OutOrStdout(), "Triggered gc.collect() on all workers.")
			}
			return err
		},
	}
	cmd.Flags().StringVar(&address, "address", "", "host:port of the head")
	return cmd
}

func healthCheckCmd() *cobra.Command {
	var address, component string
	cmd := &cobra.Command{
		Use: "health-check", Short: "Status 0 if the head answers.", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			var nodes []spec.Node
			return callHead(cmd.Context(), address, "nodes.list", struct{}{}, &nodes)
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", "", "host:port of the head")
	f.StringVar(&component, "component", "", "accepted and ignored: the head answers for all of its parts")
	f.Bool("skip-version-check", false, "accepted and ignored")
	return cmd
}
