package testbed_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"ray/internal/testbed"
	"ray/internal/testbed/fault"
	"ray/providers"
)

// headOnly is a cluster of one machine, of a type of its own by which faults
// are aimed at it.
func (b bed) headOnly(name, instanceType, more string) string {
	return b.write(name+".yaml", fmt.Sprintf(`cluster_name: %s
max_workers: 0
provider: {type: aws, region: us-west-2, use_internal_ips: true}
available_node_types:
  head: {resources: {CPU: 1}, node_config: {InstanceType: %s, ImageId: ami-1}}
head_node_type: head
%s`, name, instanceType, more))
}

// live are the instances of a type.
func (b bed) live(instanceType string) []testbed.Instance {
	b.Helper()
	var out []testbed.Instance
	for _, i := range b.instances() {
		if i.Type == instanceType {
			out = append(out, i)
		}
	}
	return out
}

// gone checks that `down` leaves nothing of a cluster.
func (b bed) gone(file, instanceType string) {
	b.Helper()
	b.ray("down", "-y", file)
	if left := b.live(instanceType); len(left) > 0 {
		b.Errorf("down left %+v", left)
	}
}

// What goes wrong is said with its cause and the next step, and nothing is
// left running that the output does not tell of.
func TestFaults(t *testing.T) {
	if !inside(t, "--cloud", "aws") {
		return
	}
	home := os.Getenv("HOME")
	for name, scenario := range map[string]func(bed){
		"NotAllowed": notAllowed, "NoCapacity": noCapacity, "KeyRefused": keyRefused, "HostDies": hostDies, "TwoLaptops": twoLaptops, "Adopted": adopted,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			scenario(bed{t, filepath.Join(home, name)})
		})
	}
}

func notAllowed(b bed) {
	b.control("POST", "/faults", fault.Fault{Action: "RunInstances", Where: map[string]string{"InstanceType": "t3.nano"}, Code: "UnauthorizedOperation",
		Message: "You are not authorized to perform this operation. User: arn:aws:iam::1:user/u is not authorized to perform: ec2:RunInstances on resource: *"}, nil)
	file := b.headOnly("not-allowed", "t3.nano", "")
	b.refused([]string{"UnauthorizedOperation", "ask for the permission ec2:RunInstances"}, "up", "-y", file)
	b.gone(file, "t3.nano")
}

func noCapacity(b bed) {
	b.control("POST", "/faults", fault.Fault{Action: "RunInstances", Where: map[string]string{"InstanceType": "t3.micro"}, Code: "InsufficientInstanceCapacity"}, nil)
	file := b.headOnly("no-capacity", "t3.micro", "")
	b.refused([]string{"InsufficientInstanceCapacity", "list more zones or InstanceTypes"}, "up", "-y", file)
	b.gone(file, "t3.micro")
}

// ec2 calls an action of EC2 as the console would.
func (b bed) ec2(action string, form url.Values) {
	b.Helper()
	form.Set("Action", action)
	form.Set("Version", "2016-11-15")
	req, err := http.NewRequestWithContext(b.Context(), "POST", os.Getenv("AWS_ENDPOINT_URL"), strings.NewReader(form.Encode()))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "AWS4-HMAC-SHA256 Credential=t/20260101/us-west-2/ec2/aws4_request, SignedHeaders=host, Signature=0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %v %v", action, resp, err)
	}
	_ = resp.Body.Close()
}

func (b bed) importKey(name, public string) {
	b.Helper()
	b.ec2("ImportKeyPair", url.Values{"KeyName": {name}, "PublicKeyMaterial": {base64.StdEncoding.EncodeToString([]byte(public))}})
}

// newKey makes a key pair and gives the private half's path and the public half.
func (b bed) newKey(name string) (path, public string) {
	b.Helper()
	path = b.write(name, "")
	_ = os.Remove(path)
	if out, err := exec.Command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path).CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	data, err := os.ReadFile(path + ".pub")
	if err != nil {
		b.Fatal(err)
	}
	return path, strings.TrimSpace(string(data))
}

func keyRefused(b bed) {
	mine, _ := b.newKey("mine")
	_, other := b.newKey("other")
	b.importKey("other", other)
	file := b.headOnly("key-refused", "t3.small", "auth: {ssh_user: ubuntu, ssh_private_key: "+mine+"}\n")
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	file = b.write("key-refused.yaml", strings.Replace(string(text), "ImageId:", "KeyName: other, ImageId:", 1))
	b.refused([]string{"authentication failed", "check auth.ssh_user and auth.ssh_private_key", "1 machine(s) of key-refused exist now", "`ray down`"}, "up", "-y", file)
	b.gone(file, "t3.small")
}

func hostDies(b bed) {
	file := b.headOnly("host-dies", "t3.medium", "setup_commands: [echo; sleep 1000]\n")
	cmd := b.cmd("up", "-y", file)
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	var errText strings.Builder
	cmd.Stderr = &errText
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	if !waitFor(out, "sleep 1000") {
		b.Fatalf("it never got to the setup commands: %v\n%s", cmd.Wait(), errText.String())
	}
	b.control("POST", "/crash?id="+b.live("t3.medium")[0].ID, nil, nil)
	err = cmd.Wait()
	for _, want := range []string{"running setup commands", "1 machine(s) of host-dies exist now"} {
		if err == nil || !strings.Contains(errText.String(), want) {
			b.Errorf("the host died, and up says %v, not %q:\n%s", err, want, errText.String())
		}
	}
	b.gone(file, "t3.medium")
}

// Two launchers that know nothing of each other make one head, and both can
// use it.
func twoLaptops(b bed) {
	var both sync.WaitGroup
	laptops := make([]bed, 2)
	for n := range laptops {
		laptops[n] = bed{b.T, filepath.Join(b.home, fmt.Sprint("laptop", n))}
	}
	file := b.ownKey("two-laptops", "t3.large")
	outs, errs := make([]string, 2), make([]error, 2)
	for n, l := range laptops {
		both.Go(func() { outs[n], errs[n] = l.try("up", "-y", file) })
	}
	both.Wait()
	if heads := b.live("t3.large"); len(heads) != 1 {
		b.Errorf("two launchers made %+v\n%s\n%s", heads, outs[0], outs[1])
	}
	for n, l := range laptops {
		if errs[n] != nil {
			b.Errorf("laptop %d: %v\n%s", n, errs[n], outs[n])
		}
		if out, err := l.try("exec", file, "ray list nodes | grep -c ALIVE"); err != nil || !strings.HasSuffix(out, "1\n") {
			b.Errorf("laptop %d: exec: %v %s", n, err, out)
		}
	}
	b.gone(file, "t3.large")
}

// ownKey is a cluster of one machine that is reached by a key of the file's,
// from any laptop.
func (b bed) ownKey(name, instanceType string) string {
	b.Helper()
	key, public := b.newKey(name + ".pem")
	b.importKey(name, public)
	file := b.headOnly(name, instanceType, "auth: {ssh_user: ubuntu, ssh_private_key: "+key+"}\n")
	text, err := os.ReadFile(file)
	if err != nil {
		b.Fatal(err)
	}
	return b.write(name+".yaml", strings.Replace(string(text), "ImageId:", "KeyName: "+name+", ImageId:", 1))
}

// upstreamsHead stands for upstream's runtime on a head: a daemon by its name,
// which has upstream's ports and tells of a job.
const upstreamsHead = `ray stop; rm -rf ~/.ray ~/ray_bootstrap*; mkdir -p /tmp/core/src/ray/gcs; cat > /tmp/core/src/ray/gcs/gcs_server <<'END'
#!/bin/sh
exec 2>/dev/null
python3 -c '
import http.server, socket
taken = socket.create_server(("", 6379))
class Jobs(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"""[{"submission_id": "raysubmit_1", "status": "RUNNING", "entrypoint": "python train.py"}, {"submission_id": "old", "status": "FAILED"}]""")
http.server.HTTPServer(("127.0.0.1", 8265), Jobs).serve_forever()
'
END
chmod +x /tmp/core/src/ray/gcs/gcs_server
nohup setsid /tmp/core/src/ray/gcs/gcs_server --gcs_server_port=6379 </dev/null >/dev/null 2>&1 &
until python3 -c 'import socket; socket.create_connection(("127.0.0.1", 8265))' 2>/dev/null; do sleep 0.1; done`

// A head that upstream's launcher made and on which upstream's runtime has a
// job keeps its machine; the job ends only if the user agrees.
func adopted(b bed) {
	file := b.ownKey("adopted", "t3.xlarge")
	b.ray("up", "-y", file)
	b.ray("exec", file, upstreamsHead)
	before := b.live("t3.xlarge")
	b.ec2("DeleteTags", url.Values{"ResourceId.1": {before[0].ID}, "Tag.1.Key": {providers.TagFileHash}})
	other := bed{b.T, filepath.Join(b.home, "other")} // knows nothing of the first
	out, err := other.try("up", "--plan", file)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(out, "adopt") || !strings.Contains(out, `the job raysubmit_1 "python train.py" ends`) {
		b.Errorf("the plan: %v\n%s", err, out)
	}
	other.refused([]string{"Upstream's Ray runs on", `the job raysubmit_1 "python train.py" ends`}, "up", file)
	other.ray("up", "-y", file)
	if after := b.live("t3.xlarge"); len(after) != 1 || after[0].ID != before[0].ID {
		b.Errorf("%+v became %+v", before, after)
	}
	other.ray("exec", file, "ray list nodes")
	other.gone(file, "t3.xlarge")
}
