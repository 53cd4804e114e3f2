package docker

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"ray/internal/cluster"
	"ray/internal/session"
	"ray/internal/sshx"
	"ray/providers"
)

const (
	// secretVar is the variable of the head's container by which it proves to
	// the agent that it is the head.
	secretVar = "RAY_ENGINE_SECRET"
	// agentDir is where the directory with the agent's socket is in the head's
	// container.
	agentDir    = "/run/ray-engine"
	agentSocket = agentDir + "/sock"
	agentLimit  = 10 * time.Second // for an agent to begin or end
)

// socketDir is where the agent of a cluster listens on this machine: a short
// path, since the kernel allows 108 bytes.
func (p *Provider) socketDir() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(p.o.Dir))
	return filepath.Join(session.Root(), "engine-"+hex.EncodeToString(h.Sum(nil)))
}

// agentOptions give the head's container the agent's socket and the secret. A
// user of another number in the container must be able to connect.
func (p *Provider) agentOptions() ([]string, error) {
	if err := session.EnsureRoot(); err != nil {
		return nil, err
	}
	dir := p.socketDir()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	return []string{"-v", dir + ":" + agentDir, "--security-opt", "label=disable", "-e", secretVar + "=" + newSecret()}, nil
}

// agent sees to it that the agent of a running head serves.
func (p *Provider) agent(ctx context.Context, head container) error {
	if p.o.Ray == "" || head.env(secretVar) == "" || head.instance().State != providers.Running {
		return nil
	}
	socket := filepath.Join(p.socketDir(), "sock")
	if conn, err := net.Dial("unix", socket); err == nil {
		return conn.Close()
	}
	log, err := os.OpenFile(filepath.Join(p.o.Dir, "engine.log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.o.Ray, "__engine", p.o.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the agent for the head: %w", err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // ends with the agent, or with this process
	for deadline := time.Now().Add(agentLimit); ; {
		if conn, err := net.Dial("unix", socket); err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			if conn, err := net.Dial("unix", socket); err == nil {
				return conn.Close() // another launcher's was faster
			}
			return fmt.Errorf("the agent for the head ended at once; %s says why", log.Name())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the agent for the head does not serve; %s may say why", log.Name())
		}
	}
}

// agentEnds waits until the agent has seen the end of the head.
func (p *Provider) agentEnds() error {
	socket := filepath.Join(p.socketDir(), "sock")
	for deadline := time.Now().Add(agentLimit); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unix", socket)
		if err != nil {
			return os.RemoveAll(p.socketDir())
		}
		_ = conn.Close()
		if time.Now().After(deadline) {
			return fmt.Errorf("the agent at %s does not end though its head is gone", socket)
		}
	}
}

// Serve is the agent of the cluster whose state is in dir: it answers the
// head's container until that ends.
func Serve(ctx context.Context, dir string) error {
	p, err := fromState(dir)
	if err != nil {
		return err
	}
	all, err := p.engine.list(ctx, p.o.Config.Name)
	if err != nil {
		return err
	}
	var head string
	for _, i := range all {
		if i.Kind == providers.Head && i.State == providers.Running {
			head = p.name(i.ID)
		}
	}
	if head == "" {
		return errors.New("no head runs")
	}
	found, err := p.engine.inspect(ctx, head)
	if err != nil || len(found) == 0 {
		return errors.Join(err, errors.New("the head is gone"))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l, err := listen(ctx, p.socketDir())
	if err != nil {
		return err
	}
	a := &agent{dir: dir, secret: found[0].env(secretVar)}
	a.wg.Go(func() { a.accept(ctx, l) })
	_, err = p.engine.output(ctx, "wait for the head's end", "wait", head)
	cancel()
	_ = l.Close() // removes the socket
	a.wg.Wait()
	return err
}

// fromState opens the provider of the file that the launcher keeps in dir.
func fromState(dir string) (*Provider, error) {
	cfg, err := cluster.Load(filepath.Join(dir, "cluster.yaml"))
	if err != nil {
		return nil, err
	}
	return local(Options{Dir: dir, Config: cfg})
}

// listen gives the agent's socket; of two agents one fails here.
func listen(ctx context.Context, dir string) (net.Listener, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("another agent serves: %w", err)
	}
	path := filepath.Join(dir, "sock")
	_ = os.Remove(path) // of one that was killed
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err == nil {
		err = os.Chmod(path, 0o666)
	}
	if err != nil {
		_ = lock.Close()
		return nil, err
	}
	return &locked{l, lock}, nil
}

// locked is a listener that holds a lock as long as it is open.
type locked struct {
	net.Listener
	lock *os.File
}

func (l *locked) Close() error { return errors.Join(l.Listener.Close(), l.lock.Close()) }

// agent answers requests of the head.
type agent struct {
	dir, secret string
	wg          sync.WaitGroup
}

func (a *agent) accept(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		a.wg.Go(func() {
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
			defer stop()
			defer conn.Close()
			a.answer(ctx, conn)
		})
	}
}

// answer carries out one request, the only one of its connection.
func (a *agent) answer(ctx context.Context, conn net.Conn) {
	in := bufio.NewReader(conn)
	var req request
	line, err := in.ReadBytes('\n')
	if err != nil || json.Unmarshal(line, &req) != nil || a.secret == "" || req.Secret != a.secret {
		return
	}
	// The file as it is now: an `up` may have changed it.
	p, err := fromState(a.dir)
	if err != nil {
		_ = reply(conn, response{Error: wrap(err)})
		return
	}
	var res response
	switch req.Op {
	case "create":
		o := req.Create
		res.Instances, err = p.Create(ctx, providers.CreateRequest{Token: o.Token, Type: o.Type, Kind: providers.Worker, Count: o.Count, Tags: o.Tags})
	case "list":
		res.Instances, err = p.List(ctx)
	case "terminate":
		err = p.Terminate(ctx, req.IDs)
	case "stop":
		err = p.Stop(ctx, req.IDs)
	case "restart":
		err = p.Restart(ctx, req.ID, req.Tags)
	case "host":
		_, err = p.Host(ctx, req.ID)
	case "run":
		if _, err = p.Host(ctx, req.ID); err == nil {
			_ = reply(conn, response{})
			serveCommand(ctx, conn, in, p.host(req.ID), req.Command)
			return
		}
	default:
		err = errors.New("unknown request " + req.Op)
	}
	res.Error = wrap(err)
	_ = reply(conn, res)
}

// serveCommand runs a command whose input and output go over the connection;
// the connection's end is the command's.
func serveCommand(ctx context.Context, conn net.Conn, in *bufio.Reader, host sshx.Host, c command) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := &frames{w: conn}
	stdin := newInput()
	done := make(chan struct{})
	go func() { // ends when the connection does
		defer close(done)
		stdin.fill(in)
		cancel()
	}()
	err := host.Run(ctx, sshx.Command{
		Line: c.Line, Env: c.Env, Login: c.Login, Stdin: stdin.reader(c.Input),
		Stdout: out.stream(frameOut), Stderr: out.stream(frameErr),
	})
	stdin.close()
	_ = out.end(err)
	_ = conn.Close()
	<-done
}
