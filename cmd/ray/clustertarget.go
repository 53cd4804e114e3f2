package main

import (
	"context"
	"errors"
	"os"
	"strings"

	"ray/internal/launcher"
	"ray/providers/all"
)

// launchedTarget finds the dashboard of a cluster that `ray up` started: that
// of the file, else the one of RAY_CLUSTER, else the current one.
func launchedTarget(ctx context.Context, file string) (statusTarget, func(), bool, error) {
	root, err := launcher.StateRoot()
	if err != nil {
		return statusTarget{}, nil, false, err
	}
	l := &launcher.Launcher{Root: root, Ray: all.RayPath(), In: os.Stdin}
	c, err := l.Select(ctx, launcher.Source{File: file, Name: os.Getenv("RAY_CLUSTER")})
	if errors.Is(err, launcher.ErrNoCluster) {
		return statusTarget{}, nil, false, nil
	}
	if err != nil {
		return statusTarget{}, nil, false, err
	}
	url, done, err := c.ReachDashboard(ctx)
	if err != nil {
		return statusTarget{}, nil, true, err
	}
	token, err := os.ReadFile(c.TokenPath())
	if err != nil {
		done()
		return statusTarget{}, nil, true, err
	}
	return statusTarget{url: url, token: strings.TrimSpace(string(token))}, done, true, nil
}
