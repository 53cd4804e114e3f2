package node

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// startHead starts the head process of the head machine, in a session of its
// own, and starts it again with backoff whenever it ends.
func (d *daemon) startHead() error {
	file := filepath.Join(d.cfg.SessionDir, "head.json")
	if len(d.cfg.HeadConfig) > 0 {
		if err := os.WriteFile(file, d.cfg.HeadConfig, 0o600); err != nil {
			return fmt.Errorf("write the head's configuration: %w", err)
		}
	}
	argv := d.cfg.HeadCommand
	if len(argv) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this binary to start the head: %w", err)
		}
		argv = []string{self, "__head", "--config", file}
	}
	cmd, err := d.runHead(argv)
	if err != nil {
		return err
	}
	d.goes(func() { d.keepHead(argv, cmd) })
	return nil
}

func (d *daemon) runHead(argv []string) (*exec.Cmd, error) {
	log, err := os.OpenFile(filepath.Join(d.cfg.SessionDir, "logs", "gcs_server.err"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the head's log: %w", err)
	}
	defer log.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = os.Environ()
	if d.cfg.Token != "" {
		cmd.Env = append(cmd.Env, "RAY_AUTH_TOKEN="+d.cfg.Token)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the head: %w", err)
	}
	d.headMu.Lock()
	d.headCmd = cmd
	d.headMu.Unlock()
	return cmd, nil
}

// keepHead restarts the head until the daemon ends.
func (d *daemon) keepHead(argv []string, cmd *exec.Cmd) {
	backoff := 100 * time.Millisecond
	for {
		started := time.Now()
		err := cmd.Wait()
		d.headMu.Lock()
		d.headCmd = nil
		d.headMu.Unlock()
		if d.ctx.Err() != nil {
			return
		}
		d.log.Warn("the head process has ended and is started again", "err", err)
		if time.Since(started) > 10*time.Second {
			backoff = 100 * time.Millisecond
		}
		for {
			select {
			case <-d.ctx.Done():
				return
			case <-time.After(backoff):
			}
			backoff = min(2*backoff, 5*time.Second)
			d.keepIdentity()
			if cmd, err = d.runHead(argv); err == nil {
				break
			}
			d.log.Warn("the head cannot be started", "err", err)
		}
	}
}

// keepIdentity writes the cluster's id into the head's configuration: a head
// without a durable store would come back as another cluster.
func (d *daemon) keepIdentity() {
	d.mu.Lock()
	id := d.cluster.ClusterID
	d.mu.Unlock()
	var conf map[string]json.RawMessage
	if id == "" || json.Unmarshal(d.cfg.HeadConfig, &conf) != nil || len(conf["cluster_id"]) > 0 {
		return
	}
	conf["cluster_id"], _ = json.Marshal(id) // a string
	text, err := json.Marshal(conf)
	if err == nil {
		err = os.WriteFile(filepath.Join(d.cfg.SessionDir, "head.json"), text, 0o600)
	}
	if err != nil {
		d.log.Warn("the head's configuration cannot be written", "err", err)
	}
}

// stopHead ends the head: politely, and after a grace by force. keepHead
// collects it.
func (d *daemon) stopHead() {
	d.headMu.Lock()
	cmd := d.headCmd
	d.headMu.Unlock()
	if cmd == nil {
		return
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // gone already is what we want
	kill := time.AfterFunc(3*time.Second, func() { _ = cmd.Process.Kill() })
	d.tasks.Wait()
	kill.Stop()
}
