package fake

import (
	"testing"
	"time"

	"ray/providers"
	"ray/providers/providertest"
)

func TestSuite(t *testing.T) {
	providertest.Run(t, providertest.Case{
		HeadType: "head", WorkerType: "cpu", Memory: true,
		New: func(*testing.T, bool) providers.Provider { return New("demo") },
	})
}

func TestLimitAndLatency(t *testing.T) {
	now := time.Unix(1000, 0)
	p := New("demo")
	p.Now, p.BootDelay, p.Limit = func() time.Time { return now }, time.Minute, map[string]int{"gpu": 1}
	made, err := p.Create(t.Context(), providers.CreateRequest{Token: "a", Type: "gpu", Kind: providers.Worker, Count: 2})
	if len(made) != 1 || providers.CauseOf(err) != providers.Capacity {
		t.Fatalf("made %d, %v; want 1 and a capacity error", len(made), err)
	}
	if made[0].State != providers.Pending {
		t.Errorf("state %s before the boot delay", made[0].State)
	}
	now = now.Add(time.Minute)
	if list, _ := p.List(t.Context()); list[0].State != providers.Running {
		t.Errorf("state %s after the boot delay", list[0].State)
	}
}
