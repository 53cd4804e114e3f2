package sshx

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// route is how a host is reached once the user's OpenSSH configuration has
// been asked. What the cluster file says goes before that.
type route struct {
	name    string // as it was asked for
	host    string // the real name or address
	port    string
	user    string
	proxy   string // command; "" is none
	jumps   []string
	keys    []string // files, besides the usual ones
	onlyOwn bool     // IdentitiesOnly: the agent's other keys are not shown
}

func (r route) address() string { return net.JoinHostPort(r.host, r.port) }

// settings are the user's configuration and the machine's, first answer first.
type settings []*ssh_config.Config

// readSettings reads ~/.ssh/config and /etc/ssh/ssh_config. A file that cannot
// be understood (OpenSSH knows more keywords) is left out; the error is for
// the message, should the host not be reached without it.
func readSettings() (settings, error) {
	var out settings
	var errs []error
	paths := []string{"/etc/ssh/ssh_config"}
	if home, err := os.UserHomeDir(); err == nil {
		paths = append([]string{filepath.Join(home, ".ssh", "config")}, paths...)
	}
	for _, p := range paths {
		c, err := readConfig(p)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, c)
	}
	return out, errors.Join(errs...)
}

func readConfig(path string) (*ssh_config.Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &ssh_config.Config{}, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	c, err := ssh_config.Decode(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// get gives the first value of a keyword for a host, "" if none is set.
func (s settings) get(host, keyword string) string {
	for _, c := range s {
		if v, err := c.Get(host, keyword); err == nil && v != "" {
			return v
		}
	}
	return ""
}

func (s settings) all(host, keyword string) []string {
	var out []string
	for _, c := range s {
		if list, err := c.GetAll(host, keyword); err == nil {
			out = append(out, list...)
		}
	}
	return out
}

// route resolves a host. given are the parts that the caller has; "" leaves a
// part to the configuration.
func (s settings) route(address, user, proxy string) route {
	r := route{user: user, proxy: proxy}
	var port string
	r.name, port = splitAddress(address)
	r.host, r.port = r.name, port
	if h := s.get(r.name, "HostName"); h != "" {
		r.host = strings.NewReplacer("%h", r.name, "%n", r.name, "%%", "%").Replace(h)
	}
	if r.port == "" {
		r.port = s.get(r.name, "Port")
	}
	if r.port == "" {
		r.port = "22"
	}
	if r.user == "" {
		r.user = s.get(r.name, "User")
	}
	if r.user == "" {
		r.user = me()
	}
	if r.proxy == "" {
		r.via(s)
	}
	for _, k := range s.all(r.name, "IdentityFile") {
		r.keys = append(r.keys, expand(k, r))
	}
	r.onlyOwn = strings.EqualFold(s.get(r.name, "IdentitiesOnly"), "yes")
	return r
}

// via takes the way there from the configuration: of ProxyJump and
// ProxyCommand one is set, as a rule.
func (r *route) via(s settings) {
	jump := s.get(r.name, "ProxyJump")
	command := s.get(r.name, "ProxyCommand")
	switch {
	case strings.EqualFold(jump, "none"):
	case jump != "":
		for _, j := range strings.Split(jump, ",") {
			r.jumps = append(r.jumps, strings.TrimPrefix(strings.TrimSpace(j), "ssh://"))
		}
		return
	}
	if !strings.EqualFold(command, "none") {
		r.proxy = command
	}
}

// splitAddress takes host:port apart; a bare IPv6 address has no port.
func splitAddress(address string) (host, port string) {
	if h, p, err := net.SplitHostPort(address); err == nil {
		return h, p
	}
	return strings.Trim(address, "[]"), ""
}

// splitUser takes user@host apart.
func splitUser(address string) (user, rest string) {
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return address[:i], address[i+1:]
	}
	return "", address
}

// expand fills in OpenSSH's tokens and the home directory of a path.
func expand(path string, r route) string {
	home, _ := os.UserHomeDir()
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		path = filepath.Join(home, rest)
	}
	return strings.NewReplacer("%d", home, "%h", r.host, "%n", r.name, "%p", r.port, "%r", r.user, "%u", me(), "%%", "%").Replace(path)
}

func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return os.Getenv("USER")
}
