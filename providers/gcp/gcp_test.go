package gcp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ray/internal/cluster"
	"ray/internal/testbed/gce"
	"ray/providers"
	"ray/providers/providertest"
)

const clusterFile = `
cluster_name: demo
max_workers: 3
provider:
  type: gcp
  region: us-test1
  availability_zone: us-test1-a, us-test1-b
  project_id: p1
  api_endpoint: ENDPOINT
  use_internal_ips: true
available_node_types:
  head:
    resources: {}
    node_config: {machineType: n1-standard-2}
  cpu:
    max_workers: 3
    resources: {CPU: 1}
    node_config:
      machineType: n2-standard-4
      labels: {owner: me}
      scheduling:
        - preemptible: true
head_node_type: head
`

// cloud starts an empty service and gives the cluster file that names it.
func cloud(t *testing.T, o gce.Options) (*gce.Server, string) {
	t.Helper()
	o.Project = "p1"
	s := gce.New(o)
	web := httptest.NewServer(s)
	t.Cleanup(web.Close)
	return s, strings.Replace(clusterFile, "ENDPOINT", web.URL, 1)
}

// prepared gives a provider of the prepared cluster.
func prepared(t *testing.T, text, dir string) *Provider {
	t.Helper()
	t.Setenv("HOME", dir)
	p, err := New(Options{Dir: dir, Config: providertest.Parse(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := p.Prepare(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, err = New(Options{Dir: dir, Config: cfg}); err != nil {
		t.Fatal(err)
	}
	return p
}

// foresee checks what is foreseen, nil if something would have to be made, and
// that this makes nothing.
func foresee(t *testing.T, s *gce.Server, text, dir string, want *cluster.Config) {
	t.Helper()
	t.Setenv("HOME", dir)
	p, err := New(Options{Dir: dir, Config: providertest.Parse(t, text)})
	if err != nil {
		t.Fatal(err)
	}
	calls := len(s.Calls())
	got, err := p.Foresee(t.Context())
	if want == nil && !errors.Is(err, providers.ErrUnmade) || want != nil && (err != nil || !reflect.DeepEqual(got.Document(), want.Document())) {
		t.Errorf("foreseen: %v", err)
	}
	for _, c := range s.Calls()[calls:] {
		if !strings.HasPrefix(c, "GET") {
			t.Errorf("looking changed something: %s", c)
		}
	}
}

func TestSuite(t *testing.T) {
	var mu sync.Mutex
	var text string
	dir := t.TempDir()
	providertest.Run(t, providertest.Case{
		HeadType: "head", WorkerType: "cpu",
		New: func(t *testing.T, reopen bool) providers.Provider {
			mu.Lock()
			defer mu.Unlock()
			if !reopen {
				_, text = cloud(t, gce.Options{Latency: 20 * time.Millisecond})
			}
			return prepared(t, text, dir)
		},
	})
}

func TestPrepareFillsIn(t *testing.T) {
	s, text := cloud(t, gce.Options{})
	dir := t.TempDir()
	foresee(t, s, text, dir, nil)
	p := prepared(t, text, dir)
	foresee(t, s, text, dir, p.o.Config)
	head, cpu := p.o.Config.NodeTypes["head"], p.o.Config.NodeTypes["cpu"]
	for _, key := range []string{"disks", "networkInterfaces", "serviceAccounts"} {
		if head.NodeConfig[key] == nil {
			t.Errorf("the head's node_config lacks %s: %v", key, head.NodeConfig)
		}
	}
	if cpu.NodeConfig["serviceAccounts"] != nil {
		t.Error("the worker has rights that only the head needs")
	}
	if got := head.Resources["CPU"].Float(); got != 2 {
		t.Errorf("head has %v CPUs, want the machine type's 2", got)
	}
	if got := cpu.Resources["CPU"].Float(); got != 1 || cpu.Resources["memory"].Float() < 10e9 {
		t.Errorf("worker resources %v: want the file's CPU and the type's memory", cpu.Resources)
	}
	if got := s.Roles("serviceAccount:" + accountID + "@p1.iam.gserviceaccount.com"); !slices.Equal(got, roles) {
		t.Errorf("the head's account has the roles %v, want %v", got, roles)
	}
	info, err := os.Stat(p.o.Config.Auth.PrivateKey)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("private key: %v %v", info, err)
	}
	calls := len(s.Calls())
	again := prepared(t, text, dir)
	if !reflect.DeepEqual(again.o.Config.Document(), p.o.Config.Document()) {
		t.Error("preparing again gives another file")
	}
	for _, c := range s.Calls()[calls:] {
		if strings.HasPrefix(c, "POST") && !strings.HasSuffix(c, ":getIamPolicy") {
			t.Errorf("preparing again changed something: %s", c)
		}
	}
}

func TestEveryZoneOfTheRegion(t *testing.T) {
	_, text := cloud(t, gce.Options{Zones: []string{"us-test1-c", "us-test1-a", "eu-test1-a"}})
	p := prepared(t, strings.Replace(text, "  availability_zone: us-test1-a, us-test1-b\n", "  availability_zone: ''\n", 1), t.TempDir())
	if got := p.zones(); !slices.Equal(got, []string{"us-test1-a", "us-test1-c"}) {
		t.Errorf("zones %v, want those of the region", got)
	}
}

func request(kind, token string, n int) providers.CreateRequest {
	return providers.CreateRequest{Token: token, Type: map[string]string{providers.Head: "head", providers.Worker: "cpu"}[kind], Kind: kind, Count: n}
}

func TestWhatIsAskedFor(t *testing.T) {
	s, text := cloud(t, gce.Options{})
	p := prepared(t, text, t.TempDir())
	if _, err := p.Create(t.Context(), request(providers.Worker, "Strange Token/é", 1)); err != nil {
		t.Fatal(err)
	}
	i := s.Instances()[0]
	if !strings.HasPrefix(i.Text("name"), "ray-demo-worker-") || !strings.HasSuffix(i.Text("name"), "-compute") {
		t.Errorf("name %q is not in upstream's form", i.Text("name"))
	}
	if got := i.Text("machineType"); got != "zones/us-test1-a/machineTypes/n2-standard-4" {
		t.Errorf("machine type %q", got)
	}
	scheduling := i["scheduling"].(map[string]any)
	if scheduling["provisioningModel"] != modelSpot || scheduling["instanceTerminationAction"] != onDelete || scheduling["onHostMaintenance"] != onTerminate {
		t.Errorf("a preempted worker would stay as a stopped one: %v", scheduling)
	}
	labels := i["labels"].(map[string]any)
	if labels["owner"] != "me" || labels[providers.TagCluster] != "demo" || labels[providers.TagKind] != providers.Worker {
		t.Errorf("labels %v", labels)
	}
	key, err := p.publicKey()
	if err != nil {
		t.Fatal(err)
	}
	item := i["metadata"].(map[string]any)["items"].([]any)[0].(map[string]any)
	if item["key"] != keysItem || item["value"] != "ubuntu:"+key+" ubuntu" {
		t.Errorf("metadata %v does not let the cluster's key in", item)
	}
}

func TestNextZoneWithoutCapacity(t *testing.T) {
	asked := map[string]int{}
	var mu sync.Mutex
	s, text := cloud(t, gce.Options{Refuse: func(zone string, i gce.Resource) *gce.Refusal {
		mu.Lock()
		defer mu.Unlock()
		asked[zone]++
		if zone == "us-test1-a" {
			return &gce.Refusal{Code: "ZONE_RESOURCE_POOL_EXHAUSTED", Message: "The zone does not have enough resources. Try us-test1-b."}
		}
		return nil
	}})
	p := prepared(t, text, t.TempDir())
	made, err := p.Create(t.Context(), request(providers.Worker, "one", 2))
	if err != nil || len(made) != 2 || len(s.Instances()) != 2 {
		t.Fatalf("made %v, %v", made, err)
	}
	before := asked["us-test1-a"]
	if _, err := p.Create(t.Context(), request(providers.Worker, "two", 1)); err != nil {
		t.Fatal(err)
	}
	if asked["us-test1-a"] != before {
		t.Error("the zone that had nothing was asked again at once")
	}
}

// Who has a memory of its own says what to try, and is told what became of it.
func TestWaysAreTriedInTheGivenOrder(t *testing.T) {
	_, text := cloud(t, gce.Options{Refuse: func(zone string, i gce.Resource) *gce.Refusal {
		if zone == "us-test1-b" {
			return &gce.Refusal{Code: "ZONE_RESOURCE_POOL_EXHAUSTED", Message: "nothing here"}
		}
		return nil
	}})
	p := prepared(t, text, t.TempDir())
	ways := p.Offerings("cpu")
	if len(ways) < 2 {
		t.Fatalf("offerings %v", ways)
	}
	slices.SortFunc(ways, func(a, b providers.Offering) int { return strings.Compare(b.Place, a.Place) })
	ways = slices.DeleteFunc(ways, func(o providers.Offering) bool { return o.Place > "us-test1-b" })
	var told []string
	req := request(providers.Worker, "one", 1)
	req.Ways, req.Tried = ways, func(o providers.Offering, err error) {
		told = append(told, fmt.Sprintf("%s %q", o.Place, providers.CauseOf(err)))
	}
	if _, err := p.Create(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(told, ", "); got != `us-test1-b "capacity", us-test1-a ""` {
		t.Errorf("tried %s", got)
	}
}

func TestSpotFallsBack(t *testing.T) {
	s, text := cloud(t, gce.Options{Refuse: func(zone string, i gce.Resource) *gce.Refusal {
		if i["scheduling"].(map[string]any)["provisioningModel"] == modelSpot {
			return &gce.Refusal{Code: "ZONE_RESOURCE_POOL_EXHAUSTED", Message: "no spot"}
		}
		return nil
	}})
	text = strings.Replace(text, "      labels:", "      spotFallback: true\n      labels:", 1)
	p := prepared(t, text, t.TempDir())
	if _, err := p.Create(t.Context(), request(providers.Worker, "one", 1)); err != nil {
		t.Fatal(err)
	}
	if got := s.Instances()[0]["scheduling"].(map[string]any); got["preemptible"] != nil || got["instanceTerminationAction"] != nil {
		t.Errorf("the fallback is not a standard instance: %v", got)
	}
}

func TestRefusals(t *testing.T) {
	for code, want := range map[string]providers.Cause{
		"QUOTA_EXCEEDED": providers.Quota, "STOCKOUT": providers.Capacity, "PERMISSIONS_ERROR": providers.Auth, "INVALID_USAGE": providers.Transient,
	} {
		_, text := cloud(t, gce.Options{Refuse: func(string, gce.Resource) *gce.Refusal {
			return &gce.Refusal{Code: code, Message: "Required 'compute.instances.create' permission for 'p1'"}
		}})
		p := prepared(t, text, t.TempDir())
		made, err := p.Create(t.Context(), request(providers.Worker, "one", 1))
		if got := providers.CauseOf(err); got != want || len(made) != 0 {
			t.Errorf("%s: cause %q, made %d: %v", code, got, len(made), err)
		}
		if want == providers.Auth && !strings.Contains(err.Error(), "ask for the permission compute.instances.create") {
			t.Errorf("the error does not name the permission: %v", err)
		}
	}
}

func TestThrottled(t *testing.T) {
	s, text := cloud(t, gce.Options{})
	p := prepared(t, text, t.TempDir())
	s.Throttle(2)
	if _, err := p.Create(t.Context(), request(providers.Worker, "one", 1)); err != nil {
		t.Errorf("refused twice as too many: %v", err)
	}
}

// A lost answer makes nothing twice, and the machine that it told of is given
// out when there is one, not while the service still looks for a place.
func TestLostAnswer(t *testing.T) {
	s := gce.New(gce.Options{Project: "p1", Latency: 300 * time.Millisecond})
	var lost atomic.Bool
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/instances") && lost.CompareAndSwap(false, true) {
			s.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler) // closes the connection
		}
		s.ServeHTTP(w, r)
	}))
	defer web.Close()
	p := prepared(t, strings.Replace(clusterFile, "ENDPOINT", web.URL, 1), t.TempDir())
	made, err := p.Create(t.Context(), request(providers.Head, "one", 1))
	if err != nil || len(made) != 1 || made[0].State != providers.Running || len(s.Instances()) != 1 {
		t.Errorf("made %+v of %d: %v", made, len(s.Instances()), err)
	}
	if !lost.Load() {
		t.Error("nothing was lost")
	}
}

func TestTwoLaptopsMakeOneHead(t *testing.T) {
	s, text := cloud(t, gce.Options{Latency: 50 * time.Millisecond})
	var wg sync.WaitGroup
	one, two := prepared(t, text, t.TempDir()), prepared(t, text, t.TempDir())
	for n, p := range []*Provider{one, two} {
		wg.Go(func() {
			if made, err := p.Create(t.Context(), request(providers.Head, string(rune('a'+n)), 1)); err != nil || len(made) != 1 {
				t.Errorf("%v, %v", made, err)
			}
		})
	}
	wg.Wait()
	if got := s.Instances(); len(got) != 1 {
		t.Fatalf("%d heads", len(got))
	}
	for _, p := range []*Provider{one, two} { // both can log in
		h, err := p.Host(t.Context(), s.Instances()[0].Text("name"))
		if err != nil {
			t.Fatal(err)
		}
		_ = h.Close()
	}
	item := s.Instances()[0]["metadata"].(map[string]any)["items"].([]any)[0].(map[string]any)
	if lines := strings.Split(item["value"].(string), "\n"); len(lines) != 2 {
		t.Errorf("%d keys are let in, want those of both: %v", len(lines), lines)
	}
}

func TestAPreemptedWorkerIsListedWithTheReason(t *testing.T) {
	s, text := cloud(t, gce.Options{})
	p := prepared(t, text, t.TempDir())
	made, err := p.Create(t.Context(), request(providers.Worker, "one", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Preempt(made[0].ID); err != nil {
		t.Fatal(err)
	}
	all, err := p.List(t.Context())
	if err != nil || len(all) != 1 || all[0].State != providers.Terminated || !strings.Contains(all[0].Reason, "preempted") {
		t.Errorf("%+v, %v", all, err)
	}
}

func TestPages(t *testing.T) {
	_, text := cloud(t, gce.Options{PageSize: 2})
	p := prepared(t, text, t.TempDir())
	if _, err := p.Create(t.Context(), request(providers.Worker, "one", 7)); err != nil {
		t.Fatal(err)
	}
	if all, err := p.List(t.Context()); err != nil || len(all) != 7 {
		t.Errorf("%d instances, %v", len(all), err)
	}
}

func TestMistakesInTheFile(t *testing.T) {
	_, text := cloud(t, gce.Options{})
	for change, want := range map[[2]string]string{
		{"machineType: n2-standard-4", "machineTyp: n2-standard-4"}:                                 `did you mean "machineType"?`,
		{"labels: {owner: me}", "labels: [owner]"}:                                                  "expected a mapping",
		{"labels: {owner: me}", "disks: [{boot: maybe}]"}:                                           `disks[0].boot: expected true or false; got the text "maybe"`,
		{"labels: {owner: me}", "name: mine"}:                                                       "the provider names instances",
		{"project_id: p1", "project_id: null"}:                                                      "provider.project_id",
		{"cluster_name: demo", "cluster_name: De.mo"}:                                               "becomes a label",
		{"machineType: n1-standard-2", "acceleratorType: v4-8"}:                                     "not supported yet: TPU nodes",
		{"labels: {owner: me}", "networkInterfaces: [{accessConfigs: [{type: 1}], subnetwerk: x}]"}: `did you mean "subnetwork"?`,
	} {
		if !strings.Contains(text, change[0]) {
			t.Fatalf("the file has no %q", change[0])
		}
		_, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, strings.Replace(text, change[0], change[1], 1))})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change[1], err, want)
		}
	}
}

func TestAMachineTypeThatIsNotThere(t *testing.T) {
	_, text := cloud(t, gce.Options{})
	p, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, strings.Replace(text, "n2-standard-4", "n2-standard-5", 1))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Prepare(t.Context()); err == nil || !strings.Contains(err.Error(), "has no machine type n2-standard-5") {
		t.Error(err)
	}
}

func TestGPUs(t *testing.T) {
	s, text := cloud(t, gce.Options{})
	text = strings.Replace(text, "      labels: {owner: me}", `      guestAccelerators: [{acceleratorType: nvidia-tesla-t4, acceleratorCount: 2}]
      disks: [{boot: true, initializeParams: {sourceImage: family/gpu, diskType: pd-ssd, diskSizeGb: 100}}]`, 1)
	text = strings.Replace(text, "      scheduling:\n        - preemptible: true\n", "", 1)
	p := prepared(t, text, t.TempDir())
	if got := p.o.Config.NodeTypes["cpu"].Resources["GPU"].Float(); got != 2 {
		t.Errorf("%v GPUs", got)
	}
	if _, err := p.Create(t.Context(), request(providers.Worker, "one", 1)); err != nil {
		t.Fatal(err)
	}
	i := s.Instances()[0]
	a := i["guestAccelerators"].([]any)[0].(map[string]any)
	if a["acceleratorType"] != "projects/p1/zones/us-test1-a/acceleratorTypes/nvidia-tesla-t4" {
		t.Errorf("accelerator %v", a)
	}
	d := i["disks"].([]any)[0].(map[string]any)["initializeParams"].(map[string]any)
	if d["diskType"] != "zones/us-test1-a/diskTypes/pd-ssd" {
		t.Errorf("disk %v", d)
	}
}

func TestFindSeesOtherClusters(t *testing.T) {
	_, text := cloud(t, gce.Options{})
	p := prepared(t, text, t.TempDir())
	if _, err := p.Create(t.Context(), request(providers.Worker, "one", 1)); err != nil {
		t.Fatal(err)
	}
	other, err := New(Options{Dir: t.TempDir(), Config: providertest.Parse(t, strings.Replace(text, "cluster_name: demo", "cluster_name: other", 1))})
	if err != nil {
		t.Fatal(err)
	}
	found, err := other.Find(t.Context())
	if err != nil || len(found) != 1 || found[0].Cluster != "demo" || found[0].Machine != "n2-standard-4" || !found[0].Spot || found[0].Region != "us-test1" {
		t.Errorf("%+v, %v", found, err)
	}
}

// A list that is being throttled ends with its context.
func TestThrottledListIsCancelled(t *testing.T) {
	s, text := cloud(t, gce.Options{})
	p := prepared(t, text, t.TempDir())
	before := len(s.Calls())
	s.Throttle(1000)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		defer cancel()
		for len(s.Calls()) < before+2 && t.Context().Err() == nil {
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := p.List(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("list: %v", err)
	}
}
