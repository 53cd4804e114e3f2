package testbed

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"
)

// Instance is a machine as its cloud shows it.
type Instance struct {
	ID, Type, Zone string
	Region         string // EC2's region, Compute Engine's project
	Market         string // spot or ""
	Role           string // in whose name it may act
	Addr, Public   string
	Name           string            // host name, "" for one made of the address
	Keys           map[string]string // lines of authorized_keys by user
	Guarded        bool              // only what Rules allow gets in
	Rules          []Rule
	On             bool
}

// fleet keeps a host for every instance that is on.
type fleet struct {
	delay    time.Duration // from the cloud's word to power-on
	env      map[string]string
	binds    []string
	metadata func(Instance) *Metadata

	mu      sync.Mutex
	members map[string]*member
	all     sync.WaitGroup
}

// power is what a member is to be.
type power int

const (
	off power = iota
	on
	gone
)

// member is one instance's host. Its goroutine boots and stops it.
type member struct {
	Instance
	meta *Metadata
	want chan power // the newest wish only

	mu      sync.Mutex // around what happens to the host
	host    *Host
	up      bool
	crashed bool
}

func (m *member) wish(p power) {
	select {
	case <-m.want: // nobody took the older one
	default:
	}
	m.want <- p // only the fleet's loop sends
}

// match makes the hosts what the cloud says there is.
func (f *fleet) match(list []Instance) {
	f.mu.Lock()
	defer f.mu.Unlock()
	there := map[string]bool{}
	for _, i := range list {
		there[i.ID] = true
		m := f.members[i.ID]
		if m == nil {
			if !i.On {
				continue
			}
			m = &member{Instance: i, meta: f.metadata(i), want: make(chan power, 1)}
			f.members[i.ID] = m
			f.all.Go(func() { f.run(m) })
			m.wish(on)
			continue
		}
		if i.On != m.On {
			m.On = i.On
			m.wish(map[bool]power{true: on, false: off}[i.On])
		}
		m.admit(i.Keys)
		m.guard(i.Rules)
	}
	for id, m := range f.members {
		if !there[id] {
			m.wish(gone)
			delete(f.members, id)
		}
	}
}

// admit tells the host whose keys changed.
func (m *member) admit(keys map[string]string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for user, lines := range keys {
		if m.Keys[user] != lines && m.host != nil {
			m.Keys[user] = lines
			if err := m.host.Admit(user, lines); err != nil {
				complain(m.ID, err)
			}
		}
	}
}

// guard tells the host which rules hold now.
func (m *member) guard(rules []Rule) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.Guarded || slices.Equal(m.Rules, rules) {
		return
	}
	m.Rules = rules
	if m.up {
		if err := m.host.Guard(rules); err != nil {
			complain(m.ID, err)
		}
	}
}

func complain(id string, err error) { fmt.Fprintf(os.Stderr, "testbed: %s: %v\n", id, err) }

// run does what is wished, in order, until the instance is gone.
func (f *fleet) run(m *member) {
	for p := range m.want {
		if p == on {
			select {
			case p = <-m.want:
			case <-time.After(f.delay):
			}
		}
		if err := f.turn(m, p); err != nil {
			complain(m.ID, err)
		}
		if p == gone {
			return
		}
	}
}

func (f *fleet) turn(m *member, p power) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if p == on {
		if m.host == nil {
			m.host, err = NewHost(Spec{
				Addr: m.Addr, Public: m.Public, Name: m.Name, Keys: m.Keys, Env: f.env, Binds: f.binds, Metadata: m.meta,
			})
		}
		if err == nil && !m.up {
			err = m.host.Boot()
			m.up, m.crashed = err == nil, false
			if m.up && m.Guarded {
				err = m.host.Guard(m.Rules)
			}
		}
		return err
	}
	if m.up {
		m.host.Crash()
		m.up = false
	}
	if p == gone && m.host != nil {
		return m.host.Erase()
	}
	return nil
}

// member gives the host of an instance that runs.
func (f *fleet) member(id string) (*member, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if m := f.members[id]; m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no host of %q", id)
}

// crash pulls the plug; the cloud goes on saying that the instance runs.
func (m *member) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.up {
		m.host.Crash()
		m.up, m.crashed = false, true
	}
}

// close ends every host.
func (f *fleet) close() {
	f.match(nil)
	f.all.Wait()
}

// cloud is a made-up cloud.
type cloud struct {
	*fleet
	env   map[string]string // for the command, and for hosts
	kick  chan struct{}     // something was called
	list  func(context.Context) ([]Instance, error)
	spot  func(ctx context.Context, m *member) error // takes an instance back
	serve func() error                               // begins; stop ends
	stop  func()
	// control are the cloud's own controls, by path.
	control map[string]func(c call) (any, error)
}

// look is how often the hosts are compared with the cloud when nothing is called.
const look = 300 * time.Millisecond

// follow keeps the hosts what the cloud says until ctx ends.
func (c *cloud) follow(ctx context.Context) {
	for {
		if list, err := c.list(ctx); err == nil {
			c.match(list)
		} else if ctx.Err() == nil {
			complain("the cloud", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		case <-time.After(look):
		}
	}
}

// touched says that something was called.
func (c *cloud) touched() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}
