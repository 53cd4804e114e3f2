package testbed_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// A host is a machine of its own, reached over SSH; the world has no way out.
func TestStaticHosts(t *testing.T) {
	script := `set -e
go() { ssh -i "$TESTBED_KEY" -o StrictHostKeyChecking=no -o LogLevel=ERROR -tt "$TESTBED_USER@$@"; }
for h in $TESTBED_HOSTS; do go $h 'echo $(whoami) $(hostname) $(ls /tmp | wc -l); touch /tmp/mark' | tr -d '\r'; done
set -- $TESTBED_HOSTS
go $1 'test -e /tmp/mark && ! test -e /mnt/hosts && echo x >/dev/null && tty' | tr -d '\r' | sed 's/[0-9]*$//'
ip route show default | wc -l
exit 7`
	before, _ := os.ReadFile("/root/.ssh/known_hosts") // may not be there
	out, err := command(t, "run", "--hosts", "2", "--", "bash", "-c", script).CombinedOutput()
	want := "ubuntu ip-172-31-0-1 0\nubuntu ip-172-31-0-2 0\n/dev/pts/\n0\n"
	if got := string(out); !strings.HasSuffix(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if after, _ := os.ReadFile("/root/.ssh/known_hosts"); string(after) != string(before) {
		t.Error("a host's key left the world")
	}
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 7 {
		t.Errorf("exit status: %v, want that of the command", err)
	}
}

// A cluster file of hosts that exist: up brings the workers too, a second up
// has nothing to do, and down leaves no process on any host.
func TestClusterOfStaticHosts(t *testing.T) {
	ray := os.Getenv("RAY_BINARY")
	if ray == "" {
		missing(t, "RAY_BINARY is not set: run scripts/test testbed")
	}
	script := `set -e
ray=$1; set -- $TESTBED_HOSTS; head=$1; shift
cat >~/c.yaml <<Y
cluster_name: bed
min_workers: $#
max_workers: $#
provider: {type: local, head_ip: $head, worker_ips: [$(echo $* | tr ' ' ,)]}
auth: {ssh_user: $TESTBED_USER, ssh_private_key: $TESTBED_KEY}
Y
$ray up -y --wait ~/c.yaml
$ray up -y ~/c.yaml | grep 'Nothing to do'
$ray exec ~/c.yaml 'ray list nodes | grep -c ALIVE; hostname'
# Any host of it: files on all, a shell on a worker, a port of the head here.
mkdir ~/up; echo from the laptop >~/up/file
$ray rsync-up -A ~/c.yaml ~/up/ '~/up'
echo 'hostname; cat ~/up/file' | $ray attach --node-ip $2 ~/c.yaml 2>/dev/null # its prompt comes when it will
$ray rsync-down ~/c.yaml '~/up/' ~/down; $ray rsync-down ~/c.yaml '~/up/' ~/down
cmp ~/up/file ~/down/file
mkfifo ~/end
$ray exec -p 8265 ~/c.yaml 'cat >/dev/null' <~/end &
exec 4>~/end
for i in $(seq 100); do (exec 3<>/dev/tcp/127.0.0.1/8265; printf 'GET /api/healthz HTTP/1.0\r\n\r\n' >&3; grep success <&3) 2>/dev/null && break; sleep 0.1; done
exec 4>&-
wait
$ray down -y ~/c.yaml
for h in $TESTBED_HOSTS; do
  ssh -i $TESTBED_KEY -o StrictHostKeyChecking=no -o LogLevel=ERROR root@$h \
    'ls -l /proc/[0-9]*/exe 2>/dev/null | grep -E "/[.]ray/|python" || echo clean'
done`
	out, err := command(t, "run", "--hosts", "3", "--", "bash", "-c", script, "bash", ray).CombinedOutput()
	got := string(out)
	if err != nil || strings.Count(got, "Nothing to do") != 1 || !strings.Contains(got, "3\nip-172-31-0-1\n") ||
		!strings.Contains(got, "ip-172-31-0-3\nfrom the laptop\n") || !strings.Contains(got, "\nsuccess") || !strings.HasSuffix(got, "clean\nclean\nclean\n") {
		t.Errorf("%v:\n%s", err, got)
	}
}
