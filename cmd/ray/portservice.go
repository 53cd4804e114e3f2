package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"ray/internal/session"
)

// portService is asked from outside which ports it could open: the service of
// --service-url. Nothing is sent to anybody unless that option names one.
type portService struct{ url string }

// probe gives those of ports that the service could open, and those it tried.
func (s portService) probe(ctx context.Context, ports []int) (open, checked []int, err error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // it tries each port, and a firewall lets it wait
	defer cancel()
	body, err := json.Marshal(map[string][]int{"ports": ports})
	if err != nil {
		return nil, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(body))
	if err != nil {
		return nil, nil, usagef("Invalid value for '--service-url': %s", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Ray-Open-Port-Check", "1") // the service answers nobody else
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, fmt.Errorf("ask the service which ports are open: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the service at %s answered %s: is it one that checks open ports?", s.url, resp.Status)
	}
	var answer struct {
		Open    []int `json:"open_ports"`
		Checked []int `json:"checked_ports"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&answer); err != nil {
		return nil, nil, fmt.Errorf("the service at %s did not answer in JSON: %w", s.url, err)
	}
	return answer.Open, answer.Checked, nil
}

// report asks about the nodes of this machine, and says for each what is open.
func (s portService) report(ctx context.Context, out io.Writer, nodes []session.Announcement) error {
	exposed := false
	for _, a := range nodes {
		var ports []int
		for _, l := range listenersOf(family(a)) {
			ports = append(ports, int(l.at.Port()))
		}
		slices.Sort(ports)
		ports = slices.Compact(ports)
		open, checked, err := s.probe(ctx, ports)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("[🟢] No open ports detected checked_ports=%s node='%s'", pyInts(checked), a.NodeID)
		if len(open) > 0 {
			exposed = true
			line = fmt.Sprintf("[🛑] open ports detected open_ports=%s node='%s'", pyInts(open), a.NodeID)
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	last := "Check complete: the service could open no port of this machine's nodes."
	if exposed {
		last = "Check complete: machines outside can open ports of this cluster. Close them in the firewall or security group,\n" +
			"and reach the cluster by `ray dashboard` and `ray attach`, which go through SSH."
	}
	_, err := fmt.Fprintln(out, last)
	return err
}

// pyInts writes a list as scripts that read this line expect it.
func pyInts(ns []int) string {
	return strings.ReplaceAll(fmt.Sprint(append([]int{}, ns...)), " ", ", ")
}
