package testbed_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/testbed/fault"
)

// gcpHead is a cluster of one machine, of a type of its own.
func (b bed) gcpHead(name, machineType, more string) string {
	return b.write(name+".yaml", fmt.Sprintf(`cluster_name: %s
max_workers: 0
provider: {type: gcp, region: us-test1, availability_zone: us-test1-a, project_id: testbed, use_internal_ips: true, api_endpoint: %q}
auth: {ssh_user: ubuntu}
available_node_types:
  head: {resources: {CPU: 1}, node_config: {machineType: %s}}
head_node_type: head
%s`, name, os.Getenv("TESTBED_ENDPOINT"), machineType, more))
}

// What goes wrong with Compute Engine ends as it does with EC2.
func TestFaultsGCP(t *testing.T) {
	if !inside(t, "--cloud", "gcp", "--latency", "100ms") {
		return
	}
	home := os.Getenv("HOME")
	for name, scenario := range map[string]func(bed){
		"AnswerLost": gcpAnswerLost, "NoCapacity": gcpNoCapacity, "NotAllowed": gcpNotAllowed, "Expired": gcpExpired, "Interrupted": gcpInterrupted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(bed{t, filepath.Join(home, name)})
		})
	}
	for n, c := range []struct{ at, next, machineType string }{
		{`"intent","op":"prepare"`, "down", "n1-standard-8"},
		{`"intent","op":"create"`, "up", "e2-standard-16"},
		{`"outcome","op":"create"`, "down", "c3-standard-8"},
		{atStart, "up", "custom-4-5120"},
	} {
		name := fmt.Sprint("killed", n)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := bed{t, filepath.Join(home, name)}
			b.callFault(fault.Fault{Action: "instances.insert", Seconds: 0.5, Count: 1}, name)
			file := b.gcpHead(name, c.machineType, slowStart(c.at))
			b.killedAt(c.at, file)
			b.goesOn(c.next, file, c.machineType)
		})
	}
}

// callFault makes calls for a cluster fail.
func (b bed) callFault(f fault.Fault, cluster string) {
	b.Helper()
	f.Where = map[string]string{"cluster": cluster}
	b.control("POST", "/faults", f, nil)
}

func gcpAnswerLost(b bed) {
	file := b.gcpHead("lost", "n1-standard-2", "")
	b.callFault(fault.Fault{Action: "instances.insert", Lost: true, Count: 1}, "lost")
	b.goesOn("up", file, "n1-standard-2")
}

func gcpNoCapacity(b bed) {
	file := b.gcpHead("no-capacity", "n2-standard-4", "")
	b.control("POST", "/faults", fault.Fault{Action: "insert", Where: map[string]string{"machineType": "n2-standard-4"}, Code: "ZONE_RESOURCE_POOL_EXHAUSTED"}, nil)
	b.refused([]string{"ZONE_RESOURCE_POOL_EXHAUSTED", "name more zones in provider.availability_zone"}, "up", "-y", file)
	b.gone(file, "n2-standard-4")
}

func gcpNotAllowed(b bed) {
	file := b.gcpHead("not-allowed", "e2-medium", "")
	b.callFault(fault.Fault{Action: "instances.insert", Code: "forbidden", Status: http.StatusForbidden,
		Message: "Required 'compute.instances.create' permission for 'projects/testbed/zones/us-test1-a/instances/x'"}, "not-allowed")
	b.refused([]string{"ask for the permission compute.instances.create in the project"}, "up", "-y", file)
	b.gone(file, "e2-medium")
}

func gcpExpired(b bed) {
	file := b.gcpHead("expired", "e2-medium", "")
	b.callFault(fault.Fault{Action: "instances.insert", Code: "authError", Status: http.StatusUnauthorized,
		Message: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."}, "expired")
	b.refused([]string{"invalid authentication credentials", "gcloud auth application-default login"}, "up", "-y", file)
	b.gone(file, "e2-medium")
}

// Ctrl-C is noticed in the midst of calls that are refused as too many, and
// what could not be found out is said.
func gcpInterrupted(b bed) {
	file := b.gcpHead("interrupted", "e2-medium", "")
	b.callFault(fault.Fault{Action: "instances.aggregatedList", Code: "rateLimitExceeded", Message: "Rate Limit Exceeded"}, "interrupted")
	cmd := b.cmd("up", "-y", file)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.until("two lists were refused", func() bool {
		var met []fault.Fault
		b.control("GET", "/faults", nil, &met)
		n := 0
		for _, f := range met {
			if f.Where["cluster"] == "interrupted" {
				n++
			}
		}
		return n >= 2
	})
	_ = cmd.Process.Signal(os.Interrupt)
	if err := cmd.Wait(); err == nil || !strings.Contains(out.String(), "Aborted.") || !strings.Contains(out.String(), "`ray down` ends it") {
		b.Errorf("%v\n%s", err, out.String())
	}
}
