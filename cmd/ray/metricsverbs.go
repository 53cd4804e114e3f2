package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"ray/internal/session"
)

// prometheus is the server of `ray metrics`, beside the clusters of this machine.
type prometheus struct {
	listen string // host:port
	dir    string // of its configuration, log and data
}

// prometheusWait is how long it may take to read its data and to be ready.
const prometheusWait = time.Minute

// metricsCmd is `ray metrics`: a Prometheus for looking at the clusters of one
// machine. Upstream downloads one; here the machine's own is run.
func metricsCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "metrics", Short: "Run a Prometheus that collects the metrics of this machine's clusters.", Args: exactArgs(),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() }}
	p := prometheus{dir: filepath.Join(session.TempDir(), "prometheus")}
	verb := func(use, short, long string, run func(context.Context, io.Writer) error) {
		c := &cobra.Command{Use: use, Short: short, Long: long, Args: exactArgs(),
			RunE: func(cmd *cobra.Command, _ []string) error { return run(cmd.Context(), cmd.OutOrStdout()) }}
		c.Flags().StringVar(&p.listen, "listen", "127.0.0.1:9090", "host:port of Prometheus")
		cmd.AddCommand(c)
	}
	verb("launch-prometheus", "Start Prometheus on the clusters that run here.",
		"Start the program prometheus of this machine, for a look and not for production: it collects from the dashboard of\n"+
			"every cluster whose head runs here, and from every node here. Nothing is downloaded. Run it again after a cluster\n"+
			"has been started again.", p.launch)
	verb("shutdown-prometheus", "End the Prometheus that launch-prometheus has started.", "", p.shutdown)
	return cmd
}

func (p *prometheus) launch(ctx context.Context, out io.Writer) error {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		return errors.New("there is no program prometheus on PATH: install it (on Debian: apt install prometheus; else from https://prometheus.io/download) and run this again")
	}
	if p.ready(ctx) == nil {
		return fmt.Errorf("a Prometheus runs at http://%s already: `ray metrics shutdown-prometheus` ends it, --listen takes another address", p.listen)
	}
	all, err := session.List()
	if err != nil {
		return err
	}
	config, err := json.MarshalIndent(scrapes(all), "", " ") // JSON is YAML
	if err != nil {
		return err
	}
	if err := os.MkdirAll(p.dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(p.dir, "prometheus.yml")
	if err := session.WriteFile(file, config); err != nil {
		return err
	}
	pid, err := p.start(ctx, program, file)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "Prometheus is running with PID %d at http://%s.\nIts configuration is %s.\nTo stop it: `ray metrics shutdown-prometheus`\n", pid, p.listen, file)
	return err
}

// start runs the program in a session of its own and waits until it is ready.
func (p *prometheus) start(ctx context.Context, program, config string) (pid int, err error) {
	path := filepath.Join(p.dir, "prometheus.log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { _ = log.Close() }()
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(p.dir, "data"),
		"--web.listen-address="+p.listen, "--web.enable-lifecycle")
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start %s: %w", program, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // as long as this process, or as it
	ctx, cancel := context.WithTimeout(ctx, prometheusWait)
	defer cancel()
	for p.ready(ctx) != nil {
		select {
		case err := <-ended:
			return 0, withLogEnd(fmt.Sprintf("prometheus ended before it was ready (%v)", err), path)
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			return 0, withLogEnd(fmt.Sprintf("prometheus was not ready (%v)", ctx.Err()), path)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return cmd.Process.Pid, nil
}

func (p *prometheus) shutdown(ctx context.Context, out io.Writer) error {
	if err := p.ask(ctx, http.MethodPost, "/-/quit"); err != nil {
		return fmt.Errorf("no Prometheus could be ended at http://%s: %w", p.listen, err)
	}
	_, err := fmt.Fprintf(out, "Prometheus at http://%s ends.\n", p.listen)
	return err
}

func (p *prometheus) ready(ctx context.Context) error { return p.ask(ctx, http.MethodGet, "/-/ready") }

func (p *prometheus) ask(ctx context.Context, method, path string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.listen+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, path, resp.Status)
	}
	return nil
}

// scrapes is a Prometheus configuration for what runs on this machine: heads,
// which ask for the token, and nodes, which listen on loopback.
func scrapes(all []session.Announcement) map[string]any {
	var jobs []map[string]any
	for _, a := range all {
		about := map[string]string{}
		if a.ClusterName != "" {
			about["ray_io_cluster"] = a.ClusterName
		}
		job := func(kind, target string) map[string]any {
			if target == "" {
				return nil
			}
			j := map[string]any{
				"job_name":       fmt.Sprintf("ray-%s-%.12s", kind, a.NodeID),
				"static_configs": []any{map[string]any{"targets": []string{target}, "labels": about}},
			}
			jobs = append(jobs, j)
			return j
		}
		if a.Head {
			if j := job("head", a.Dashboard); j != nil && a.TokenPath != "" {
				j["authorization"] = map[string]string{"credentials_file": a.TokenPath}
			}
		}
		job("node", a.MetricsAddress)
	}
	if jobs == nil {
		jobs = []map[string]any{}
	}
	return map[string]any{"global": map[string]string{"scrape_interval": "10s"}, "scrape_configs": jobs}
}
