package main

import (
	"context"
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
	address, err := headAddress(address)
	if err != nil {
		return err
	}
	auth, err := wire.LoadToken()
	if err != nil {
		return err
	}
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
		return fmt.Errorf("cannot reach the head at %s: %w", address, err)
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

func drainNodeCmd() *cobra.Command {
	var address, node, reason, message string
	var seconds int
	const idle, preempted = "DRAIN_NODE_REASON_IDLE_TERMINATION", "DRAIN_NODE_REASON_PREEMPTION"
	cmd := &cobra.Command{
		Use: "drain-node", Short: "Ask a node to take no new work and to leave.", Hidden: true, Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case reason != idle && reason != preempted:
				return usagef("Invalid value for '--reason': '%s' is not one of '%s', '%s'.", reason, idle, preempted)
			case message == "":
				return usagef("Missing option '--reason-message'.")
			case seconds < 0:
				return usagef("Invalid value for '--deadline-remaining-seconds': it cannot be negative, got %d", seconds)
			}
			if node == "" {
				a, ok := session.Newest(session.TempDir())
				if !ok {
					return usagef("No node runs under this session root: name one by --node-id.")
				}
				node = a.NodeID
			}
			var id spec.NodeID
			if err := id.UnmarshalText([]byte(node)); err != nil {
				return usagef("Invalid value for '--node-id': %s", err)
			}
			request := struct {
				NodeID spec.NodeID `json:"node_id"`
				wire.Drain
			}{id, wire.Drain{Reason: reason, Message: message}}
			if seconds > 0 {
				request.DeadlineMS = time.Now().Add(time.Duration(seconds) * time.Second).UnixMilli()
			}
			var reply wire.DrainReply
			if err := callHead(cmd.Context(), address, "node.drain", request, &reply); err != nil {
				return err
			}
			if !reply.Accepted {
				return fmt.Errorf("the node refuses: %s", reply.Message)
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&address, "address", "", "host:port of the head")
	f.StringVar(&node, "node-id", "", "id of the node (default: the one here)")
	f.StringVar(&reason, "reason", "", idle+" or "+preempted)
	f.StringVar(&message, "reason-message", "", "why, for people")
	f.IntVar(&seconds, "deadline-remaining-seconds", 0, "seconds until the node ends in any case (default: no limit)")
	return cmd
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
