package claim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"ray/internal/autoscalerpb"
	"ray/internal/head/scalerpc"
)

// Claims are numbered. The highest number is in force; who holds it beats, and
// who wants to follow a holder that has stopped takes the next number, which
// the store gives to one process only.
const (
	claimPrefix = "claim/"
	tablePrefix = "table/"

	// BeatEvery is how often a holder has to beat.
	BeatEvery = 2 * time.Second
	// patience is how long a claim must not have changed before it is over:
	// several beats, so that a head that restarts ends none.
	patience = 15 * time.Second
	lookAt   = 200 * time.Millisecond
)

// ErrSuperseded says that another process has taken the cluster over.
var ErrSuperseded = errors.New("another autoscaler has taken this cluster over")

// Holder says who has a claim.
type Holder struct {
	Host    string `json:"host"`    // its name, for people
	Machine string `json:"machine"` // of this boot and process namespace; "" if unknown
	PID     int    `json:"pid"`
	Born    string `json:"born"` // of the process, in the kernel's clock ticks
	Beat    int64  `json:"beat"`
	Left    bool   `json:"left,omitempty"` // it has ended and said so
}

// self describes this process.
func self() Holder {
	h := Holder{PID: os.Getpid()}
	h.Host, _ = os.Hostname()
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	space, err2 := os.Readlink("/proc/self/ns/pid")
	if err == nil && err2 == nil {
		h.Machine = strings.TrimSpace(string(boot)) + " " + space
		h.Born = bornAt(h.PID)
	}
	return h
}

// bornAt is when a process began; "" if there is none.
func bornAt(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(text[strings.LastIndexByte(string(text), ')')+1:]), " ")
	if fields := strings.Fields(rest); len(fields) > 19 && fields[0] != "Z" {
		return fields[19]
	}
	return ""
}

// ended tells whether the holder is known to be over, without waiting.
func (h Holder) ended(me Holder) bool {
	return h.Left || h.Machine != "" && h.Machine == me.Machine && bornAt(h.PID) != h.Born
}

// Claim is a number that this process holds.
type Claim struct {
	kv     autoscalerpb.InternalKVGcsServiceClient
	me     Holder
	number int
}

// Take waits for the present holder to end and takes the next number. tell is
// called when there is somebody to wait for.
func Take(ctx context.Context, kv autoscalerpb.InternalKVGcsServiceClient, tell func(Holder)) (*Claim, error) {
	c := &Claim{kv: kv, me: self()}
	var seen string
	var since time.Time
	for {
		top, err := c.highest(ctx, claimPrefix)
		if err != nil {
			return nil, err
		}
		text, there, err := c.get(ctx, claimPrefix, top)
		if err != nil {
			return nil, err
		}
		var h Holder
		if top > 0 && there && json.Unmarshal(text, &h) == nil && !h.ended(c.me) {
			if string(text) != seen {
				if seen == "" {
					tell(h)
				}
				seen, since = string(text), time.Now()
			}
			if time.Since(since) < patience {
				if err := sleep(ctx, lookAt); err != nil {
					return nil, err
				}
				continue
			}
		}
		c.number = top + 1
		won, err := c.write(ctx, false)
		if err == nil && won {
			err = c.check(ctx)
		}
		if err == nil && won || err != nil && !errors.Is(err, ErrSuperseded) {
			return c, err
		}
	}
}

// Table is what the last holder that has stored anything has stored; nil if
// there is none.
func (c *Claim) Table(ctx context.Context) ([]byte, error) {
	top, err := c.highest(ctx, tablePrefix)
	if err != nil || top == 0 {
		return nil, err
	}
	text, _, err := c.get(ctx, tablePrefix, top)
	return text, err
}

// Store writes the table and then makes sure that it is still this process's:
// a successor either finds what was written, or is found here.
func (c *Claim) Store(ctx context.Context, text []byte) error {
	if _, err := c.put(ctx, tablePrefix, text, true); err != nil {
		return err
	}
	return c.check(ctx)
}

// Beat tells that the holder lives, and notices a successor.
func (c *Claim) Beat(ctx context.Context) error {
	c.me.Beat++
	if err := c.check(ctx); err != nil {
		return err
	}
	_, err := c.write(ctx, true)
	return err
}

// Leave lets another one in at once.
func (c *Claim) Leave(ctx context.Context) error {
	c.me.Left = true
	if err := c.check(ctx); err != nil {
		return err
	}
	_, err := c.write(ctx, true)
	return err
}

// Tidy removes what earlier holders have left, once their table is stored anew.
func (c *Claim) Tidy(ctx context.Context) error {
	for _, prefix := range []string{claimPrefix, tablePrefix} {
		reply, err := c.kv.InternalKVKeys(ctx, &autoscalerpb.InternalKVKeysRequest{Namespace: []byte(scalerpc.AloneSpace), Prefix: []byte(prefix)})
		if err != nil {
			return err
		}
		for _, key := range reply.Results {
			if number, err := strconv.Atoi(strings.TrimPrefix(string(key), prefix)); err != nil || number >= c.number {
				continue
			}
			if _, err := c.kv.InternalKVDel(ctx, &autoscalerpb.InternalKVDelRequest{Namespace: []byte(scalerpc.AloneSpace), Key: key}); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Claim) check(ctx context.Context) error {
	top, err := c.highest(ctx, claimPrefix)
	if err == nil && top != c.number {
		err = ErrSuperseded
	}
	return err
}

// highest is the highest number of a kind of key; 0 if there is none.
func (c *Claim) highest(ctx context.Context, prefix string) (int, error) {
	reply, err := c.kv.InternalKVKeys(ctx, &autoscalerpb.InternalKVKeysRequest{Namespace: []byte(scalerpc.AloneSpace), Prefix: []byte(prefix)})
	top := 0
	for _, key := range reply.GetResults() {
		if number, err := strconv.Atoi(strings.TrimPrefix(string(key), prefix)); err == nil {
			top = max(top, number)
		}
	}
	return top, err
}

func (c *Claim) write(ctx context.Context, overwrite bool) (bool, error) {
	text, err := json.Marshal(c.me)
	if err != nil {
		return false, err
	}
	return c.put(ctx, claimPrefix, text, overwrite)
}

func (c *Claim) put(ctx context.Context, prefix string, text []byte, overwrite bool) (added bool, err error) {
	reply, err := c.kv.InternalKVPut(ctx, &autoscalerpb.InternalKVPutRequest{
		Namespace: []byte(scalerpc.AloneSpace), Key: key(prefix, c.number), Value: text, Overwrite: overwrite,
	})
	return reply.GetAdded(), err
}

func (c *Claim) get(ctx context.Context, prefix string, number int) ([]byte, bool, error) {
	reply, err := c.kv.InternalKVGet(ctx, &autoscalerpb.InternalKVGetRequest{Namespace: []byte(scalerpc.AloneSpace), Key: key(prefix, number)})
	return reply.GetValue(), reply.GetStatus().GetCode() == 0, err
}

func key(prefix string, number int) []byte { return fmt.Appendf(nil, "%s%08d", prefix, number) }

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
