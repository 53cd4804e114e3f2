package proc

import (
	"path/filepath"
	"strings"
	"time"
)

// RetireIdle ends the fork servers whose interpreter lies under dir and that
// have had no worker for longer than after: there may be one for each runtime
// environment that was ever used. The next worker starts a new one.
func (m *Manager) RetireIdle(dir string, after time.Duration) {
	m.mu.Lock()
	var idle []*server
	for key, s := range m.servers {
		if strings.HasPrefix(s.python, dir+string(filepath.Separator)) && s.idleFor() > after {
			delete(m.servers, key)
			idle = append(idle, s)
		}
	}
	m.mu.Unlock()
	for _, s := range idle {
		s.close()
	}
}

// idleFor tells how long the server has had no worker; 0 if it has one or
// has had none yet.
func (s *server) idleFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.workers) > 0 || s.idleSince.IsZero() {
		return 0
	}
	return time.Since(s.idleSince)
}
