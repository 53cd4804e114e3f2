package testbed_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"ray/internal/testbed/fault"
	"ray/internal/testbed/moto"
)

const job = `import socket, time
import ray
ray.init()
@ray.remote(num_cpus=1)
def where():
    time.sleep(0.5)
    return socket.gethostname()
print(len(set(ray.get([where.remote() for _ in range(6)]))), "hosts")
`

// cycle is a cluster's life: a head and two workers, a job on all of them, and
// nothing left. meanwhile is called while the cluster is there.
func (b bed) cycle(file string, meanwhile func()) {
	b.Helper()
	b.ray("up", "-y", "--wait", file)
	if out := b.ray("up", "-y", file); !strings.Contains(out, "Nothing to do") {
		b.Errorf("a second up:\n%s", out)
	}
	if out := b.ray("exec", file, "cat ~/set-up"); !strings.HasSuffix(out, "mounted\n") {
		b.Errorf("the mounted file, copied by a setup command:\n%s", out)
	}
	if out := b.ray("submit", file, b.write("job.py", job)); !strings.Contains(out, "3 hosts") {
		b.Errorf("the job:\n%s", out)
	}
	meanwhile()
	b.largeFile(file)
	b.ray("rsync-down", file, "~/set-up", b.home+"/back")
	if back, err := os.ReadFile(b.home + "/back"); string(back) != "mounted\n" {
		b.Errorf("rsync-down brought %q, %v", back, err)
	}
	if out := b.ray("down", "-y", file); !strings.Contains(out, "3 machine(s) ended, none remains") {
		b.Errorf("down:\n%s", out)
	}
	b.empty()
}

// shut fails unless the security group lets this machine in to sshd alone: the
// workers have come in to the head's other ports.
func (b bed) shut(head string) {
	b.Helper()
	for port, open := range map[string]bool{"22": true, "6379": false, "8265": false} {
		conn, err := net.DialTimeout("tcp", net.JoinHostPort(head, port), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		if timeout := net.Error(nil); open && err != nil || !open && !(errors.As(err, &timeout) && timeout.Timeout()) {
			b.Errorf("port %s of the head, from outside of its security group: %v", port, err)
		}
	}
}

const awsFile = `cluster_name: bed
max_workers: 2
provider: {type: aws, region: us-west-2}
auth: {ssh_user: ubuntu}
file_mounts: {~/data: %s}
setup_commands: [cp ~/data/file ~/set-up]
available_node_types:
  head:
    resources: {CPU: 1}
    node_config: {InstanceType: m5.large, ImageId: ami-1}
  worker:
    resources: {CPU: 1}
    min_workers: 2
    max_workers: 2
    node_config: {InstanceTypes: [m5.xlarge, c5.xlarge], ImageId: ami-1}
head_node_type: head
`

// A cluster on EC2, whose lists lag behind and come in pages, that throttles
// and has none of the machines that are asked for first.
func TestAWS(t *testing.T) {
	if !inside(t, "--cloud", "aws", "--boot-delay", "500ms", "--page-size", "1") {
		return
	}
	b := bed{t, os.Getenv("HOME")}
	b.write("data/file", "mounted\n")
	file := b.write("aws.yaml", fmt.Sprintf(awsFile, b.home+"/data"))
	b.control("POST", "/lag?for=1s", nil, nil)
	b.control("POST", "/faults", fault.Fault{Action: "RunInstances", Where: map[string]string{"InstanceType": "m5.xlarge"}, Code: "InsufficientInstanceCapacity"}, nil)
	b.control("POST", "/faults", fault.Fault{Action: "DescribeInstances", Code: "RequestLimitExceeded", Count: 2}, nil)
	b.control("POST", "/faults", fault.Fault{Action: "RunInstances", Lost: true, Count: 1}, nil)
	b.cycle(file, func() { b.shut(strings.TrimSpace(b.ray("get-head-ip", file))) })
	var calls []moto.Call
	b.control("GET", "/calls", nil, &calls)
	met := map[string]int{}
	for _, c := range calls {
		met[c.Error]++
	}
	if met["InsufficientInstanceCapacity"] == 0 || met["RequestLimitExceeded"] != 2 || met["answer lost"] != 1 {
		t.Errorf("the faults met: %v", met)
	}
}

const gcpFile = `cluster_name: bed
max_workers: 2
provider:
  type: gcp
  region: us-test1
  project_id: testbed
  api_endpoint: %s
auth: {ssh_user: ubuntu}
file_mounts: {~/data: %s}
setup_commands: [cp ~/data/file ~/set-up]
available_node_types:
  head:
    resources: {CPU: 1}
    node_config: {machineType: n1-standard-2}
  worker:
    resources: {CPU: 1}
    min_workers: 2
    max_workers: 2
    node_config: {machineType: n2-standard-4}
head_node_type: head
`

// The same on Compute Engine, whose operations take a while.
func TestGCP(t *testing.T) {
	if !inside(t, "--cloud", "gcp", "--boot-delay", "500ms", "--latency", "300ms", "--page-size", "1") {
		return
	}
	b := bed{t, os.Getenv("HOME")}
	b.write("data/file", "mounted\n")
	file := b.write("gcp.yaml", fmt.Sprintf(gcpFile, os.Getenv("TESTBED_ENDPOINT"), b.home+"/data"))
	b.control("POST", "/faults", fault.Fault{Action: "insert", Where: map[string]string{"zone": "us-test1-a"}, Code: "ZONE_RESOURCE_POOL_EXHAUSTED"}, nil)
	b.control("POST", "/throttle?calls=2", nil, nil)
	b.cycle(file, func() {})
}
