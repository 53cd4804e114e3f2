package head

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"time"

	"ray/autoscaler"
	"ray/internal/bootstrap"
	"ray/internal/spec"
	"ray/providers/prices"
)

// reloadEvery is how often the head looks whether its cluster file was
// replaced, as `ray up` does after it has brought the file mounts.
const reloadEvery = time.Second

// load reads the cluster file and what planning needs to know of it.
func (s *autoscaling) load() (*bootstrap.Fleet, autoscaler.Config, error) {
	var c autoscaler.Config
	fleet, err := bootstrap.OpenFleet(s.h.cfg.AutoscalingConfig, s.h.ready.Address, s.tokenFile, s.h.cfg.RayBinary)
	if err != nil {
		return nil, c, fmt.Errorf("autoscaler: %w", err)
	}
	table, err := prices.Load(filepath.Join(filepath.Dir(s.h.cfg.AutoscalingConfig), prices.FileName))
	if err != nil {
		return nil, c, fmt.Errorf("autoscaler: %w", err)
	}
	fleet.Progress, fleet.Joined = s.progress, s.joined
	return fleet, scalingConfig(fleet, table), nil
}

// runtimeHashes tell for each node type what its nodes are set up by: files,
// commands, and what they are told to offer. A type whose files cannot be read
// has none, and its nodes are left as they are.
func runtimeHashes(f *bootstrap.Fleet) map[string]string {
	out := map[string]string{}
	mounts, _, err := f.Config.ContentsHashes()
	if err != nil || f.Manual() {
		return out
	}
	for name, t := range f.Config.NodeTypes {
		sum := sha256.Sum256(fmt.Append(nil, f.Config.RuntimeHash(false, name, mounts), t.Resources, t.Labels))
		out[name] = hex.EncodeToString(sum[:10])
	}
	return out
}

// watchFile takes over changes of the cluster file until ctx ends, and tells
// of them.
func (s *autoscaling) watchFile(ctx context.Context, emit func(spec.Event)) {
	last := stampOf(s.h.cfg.AutoscalingConfig)
	ticker := time.NewTicker(reloadEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := stampOf(s.h.cfg.AutoscalingConfig); now != last && now != "" {
			last = now
			s.reload(emit)
		}
	}
}

// stampOf changes when a file is written or replaced; "" if it is not there.
func stampOf(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	inode := uint64(0)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		inode = st.Ino
	}
	return fmt.Sprint(info.ModTime().UnixNano(), info.Size(), inode)
}

// reload reads the file again. One with mistakes is told of and changes
// nothing.
func (s *autoscaling) reload(emit func(spec.Event)) {
	tell := func(severity, text string) {
		emit(spec.Event{TimeMS: time.Now().UnixMilli(), Severity: severity, Source: "autoscaler", Message: text})
	}
	fleet, config, err := s.load()
	was := s.current()
	if err == nil && (fleet.Config.Name != was.Config.Name || fleet.Config.Provider.Type != was.Config.Provider.Type) {
		err = fmt.Errorf("it describes cluster %s of provider %s, this is %s of %s",
			fleet.Config.Name, fleet.Config.Provider.Type, was.Config.Name, was.Config.Provider.Type)
	}
	if err != nil {
		s.loop.CountConfigError()
		tell("ERROR", fmt.Sprintf("The changed cluster file is not used: %v. What it said before stays in force.", err))
		return
	}
	s.mu.Lock()
	same := reflect.DeepEqual(config, s.config)
	s.fleet, s.config = fleet, config
	s.mu.Unlock()
	if !same {
		s.loop.SetConfig(config)
		tell("INFO", "The cluster file has changed and was read again.")
	}
}

// current is what machines are made by now.
func (s *autoscaling) current() *bootstrap.Fleet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fleet
}

// limits are what planning knows of the file now.
func (s *autoscaling) limits() autoscaler.Config {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.config
}
