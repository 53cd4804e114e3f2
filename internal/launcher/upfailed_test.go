package launcher

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"ray/internal/sshx"
	"ray/providers"
)

// A key that cannot be used is found before a machine is made that only it opens.
func TestUnusableKey(t *testing.T) {
	b := newBench(t, demo)
	dir := t.TempDir()
	for name, text := range map[string]string{"absent": "", "public": "ssh-ed25519 AAAA me@there\n"} {
		key := filepath.Join(dir, name)
		if text != "" {
			if err := os.WriteFile(key, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		b.write(t, demo+"auth: {ssh_user: me, ssh_private_key: "+key+"}\n")
		for verb, err := range map[string]error{"up": b.cluster(t).Up(t.Context(), UpOptions{}), "plan": planned(t, b)} {
			if err == nil || !strings.Contains(err.Error(), "auth.ssh_private_key: ") || !strings.Contains(err.Error(), "name a private key file that you can read") {
				t.Errorf("%s, %s: %v", name, verb, err)
			}
		}
	}
	if b.creates() != 0 {
		t.Errorf("made all the same: %q", b.fake.Calls())
	}
}

func planned(t *testing.T, b *bench) error {
	_, err := b.cluster(t).Plan(t.Context())
	return err
}

// Credentials that expire in the midst of `up` hide no machine from the user.
func TestCredentialsExpire(t *testing.T) {
	b := newBench(t, demo)
	b.fail = "set it up"
	b.fake.OnRun = func(ctx context.Context, id string, c sshx.Command) error {
		err := b.run(ctx, id, c)
		if err != nil {
			b.fake.FailNext("list", &providers.Error{Cause: providers.Auth, Op: "list", Code: "ExpiredToken", Hint: "log in again"})
		}
		return err
	}
	err := b.cluster(t).Up(t.Context(), UpOptions{})
	if out := b.out.String(); err == nil || !strings.Contains(out, "ExpiredToken; log in again") || !strings.Contains(out, "the head's machine i-") {
		t.Errorf("%v\n%s", err, out)
	}
}
