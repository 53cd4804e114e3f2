package claim

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"ray/internal/autoscalerpb"
)

// memory is a key-value store as the head's is: calls take effect one by one.
type memory struct {
	autoscalerpb.InternalKVGcsServiceClient
	mu   sync.Mutex
	rows map[string]string
}

func (m *memory) InternalKVGet(_ context.Context, r *autoscalerpb.InternalKVGetRequest, _ ...grpc.CallOption) (*autoscalerpb.InternalKVGetReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	value, ok := m.rows[string(r.Key)]
	if !ok {
		return &autoscalerpb.InternalKVGetReply{Status: &autoscalerpb.GcsStatus{Code: 17}}, nil
	}
	return &autoscalerpb.InternalKVGetReply{Value: []byte(value)}, nil
}

func (m *memory) InternalKVPut(_ context.Context, r *autoscalerpb.InternalKVPutRequest, _ ...grpc.CallOption) (*autoscalerpb.InternalKVPutReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, there := m.rows[string(r.Key)]
	if !there || r.Overwrite {
		m.rows[string(r.Key)] = string(r.Value)
	}
	return &autoscalerpb.InternalKVPutReply{Added: !there}, nil
}

func (m *memory) InternalKVDel(_ context.Context, r *autoscalerpb.InternalKVDelRequest, _ ...grpc.CallOption) (*autoscalerpb.InternalKVDelReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.rows, string(r.Key))
	return &autoscalerpb.InternalKVDelReply{}, nil
}

func (m *memory) InternalKVKeys(_ context.Context, r *autoscalerpb.InternalKVKeysRequest, _ ...grpc.CallOption) (*autoscalerpb.InternalKVKeysReply, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := &autoscalerpb.InternalKVKeysReply{}
	for _, key := range slices.Sorted(maps.Keys(m.rows)) {
		if strings.HasPrefix(key, string(r.Prefix)) {
			out.Results = append(out.Results, []byte(key))
		}
	}
	return out, nil
}

func mustTake(t *testing.T, kv *memory) *Claim {
	t.Helper()
	c, err := Take(t.Context(), kv, func(Holder) {})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOneHolds lets the next one in when the holder leaves, falls silent or is
// known to be dead, and not before.
func TestOneHolds(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, c *Claim) time.Duration{
		"leaves": func(t *testing.T, c *Claim) time.Duration {
			if err := c.Leave(t.Context()); err != nil {
				t.Error(err)
			}
			return lookAt
		},
		"is silent": func(*testing.T, *Claim) time.Duration { return patience + lookAt },
		"has died": func(t *testing.T, c *Claim) time.Duration {
			c.me.Born = "before this process"
			if err := c.Beat(t.Context()); err != nil {
				t.Error(err)
			}
			return lookAt
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := &memory{rows: map[string]string{}}
				first := mustTake(t, kv)
				taken := make(chan *Claim)
				go func() {
					c, err := Take(t.Context(), kv, func(Holder) {})
					if err != nil {
						t.Error(err)
					}
					taken <- c
				}()
				for range 30 { // a minute of life
					time.Sleep(BeatEvery)
					select {
					case <-taken:
						t.Fatal("two hold the cluster")
					default:
					}
					if err := first.Beat(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				limit := end(t, first)
				begun := time.Now()
				second := <-taken
				if waited := time.Since(begun); waited > limit+BeatEvery {
					t.Errorf("the next one came after %s, not within %s", waited, limit)
				}
				if second.number != first.number+1 {
					t.Errorf("number %d after %d", second.number, first.number)
				}
			})
		})
	}
}

// TestTheTableFollowsTheClaim checks what a holder that was thought dead can
// still do: nothing, but what it stored before it noticed is found.
func TestTheTableFollowsTheClaim(t *testing.T) {
	kv := &memory{rows: map[string]string{}}
	first := mustTake(t, kv)
	if text, err := first.Table(t.Context()); text != nil || err != nil {
		t.Fatalf("table %q, %v", text, err)
	}
	if err := first.Store(t.Context(), []byte("one")); err != nil {
		t.Fatal(err)
	}
	first.me.Left = true
	if _, err := first.write(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	second := mustTake(t, kv)
	for what, err := range map[string]error{
		"store": first.Store(t.Context(), []byte("late")), "beat": first.Beat(t.Context()), "leave": first.Leave(t.Context()),
	} {
		if !errors.Is(err, ErrSuperseded) {
			t.Errorf("%s of one that was followed: %v", what, err)
		}
	}
	if text, err := second.Table(t.Context()); string(text) != "late" || err != nil {
		t.Errorf("table %q, %v", text, err)
	}
	if err := errors.Join(second.Store(t.Context(), []byte("two")), second.Tidy(t.Context())); err != nil {
		t.Fatal(err)
	}
	if keys := slices.Sorted(maps.Keys(kv.rows)); len(keys) != 2 {
		t.Errorf("left in the store: %v", keys)
	}
	// One that stored nothing hides nothing.
	if err := second.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	third := mustTake(t, kv)
	if err := third.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	if text, err := mustTake(t, kv).Table(t.Context()); string(text) != "two" || err != nil {
		t.Errorf("table %q, %v", text, err)
	}
}

// TestManyContend lets one of many in at a time.
func TestManyContend(t *testing.T) {
	kv := &memory{rows: map[string]string{}}
	var mu sync.Mutex
	holding, turns := 0, 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			c, err := Take(t.Context(), kv, func(Holder) {})
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			holding++
			turns++
			if holding > 1 {
				t.Error("two hold the cluster")
			}
			mu.Unlock()
			mu.Lock()
			holding--
			mu.Unlock()
			if err := c.Leave(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if turns != 8 {
		t.Errorf("%d of 8 had their turn", turns)
	}
}
