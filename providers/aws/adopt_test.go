package aws

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/internal/sshx"
	"ray/providers"
)

// A head that upstream's launcher made is recognised: what Prepare fills in is
// what upstream fills in, so that the same launch hash comes out.
func TestUpstreamsHeadFits(t *testing.T) {
	account(t)
	home := t.TempDir()
	t.Setenv("HOME", home)
	const key = "ray-autoscaler_us-west-2" // upstream's names
	pem := filepath.Join(home, ".ssh", key+".pem")
	public, err := sshx.EnsureKey(pem)
	if err != nil {
		t.Fatal(err)
	}
	maker := prepared(t, clusterFile, t.TempDir()) // the group has the same name
	client, err := maker.ec2(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	roles, err := maker.iam(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := makeProfile(t.Context(), roles, sharedProfile, "demo"); err != nil {
		t.Fatal(err)
	}
	if _, err := client.ImportKeyPair(t.Context(), &ec2.ImportKeyPairInput{KeyName: aws.String(key), PublicKeyMaterial: []byte(public)}); err != nil {
		t.Fatal(err)
	}
	arn, _, err := findProfile(t.Context(), roles, sharedProfile)
	if err != nil {
		t.Fatal(err)
	}
	made := maker.o.Config.NodeTypes["head"].NodeConfig
	private, err := os.ReadFile(pem)
	if err != nil {
		t.Fatal(err)
	}
	// As upstream hashes it: sorted JSON of node_config and auth, with the key's text.
	text, err := json.Marshal([]any{
		map[string]any{"InstanceType": "m5.large", "ImageId": "ami-1", "KeyName": key, keySubnets: made[keySubnets],
			"SecurityGroupIds": made["SecurityGroupIds"], "IamInstanceProfile": map[string]any{"Arn": arn}},
		map[string]any{"ssh_user": "ubuntu", "ssh_private_key": string(private)},
	})
	if err != nil {
		t.Fatal(err)
	}
	spaced := spaceJSON(string(text))
	sum := sha256.Sum256([]byte(spaced))
	hash := strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:]))
	tag := func(k, v string) types.Tag { return types.Tag{Key: aws.String(k), Value: aws.String(v)} }
	if _, err := client.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId: aws.String("ami-1"), InstanceType: "m5.large", KeyName: aws.String(key), MinCount: aws.Int32(1), MaxCount: aws.Int32(1),
		TagSpecifications: []types.TagSpecification{{ResourceType: types.ResourceTypeInstance, Tags: []types.Tag{
			tag(providers.TagCluster, "demo"), tag(providers.TagLaunchHash, hash), tag(providers.TagStatus, "up-to-date"),
			tag(providers.TagKind, providers.Head), tag(providers.TagType, "head"), tag("Name", "ray-demo-head"),
		}}},
	}); err != nil {
		t.Fatal(err)
	}
	unmade := strings.Replace(clusterFile, "cluster_name: demo", "cluster_name: other", 1)
	if _, err := opened(t, unmade, t.TempDir()).Foresee(t.Context()); !errors.Is(err, providers.ErrUnmade) {
		t.Errorf("foreseen where nothing is there: %v", err)
	}
	looked := t.TempDir()
	foreseen, err := opened(t, clusterFile, looked).Foresee(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(looked); err != nil || len(left) > 0 {
		t.Errorf("looking made %v, %v", left, err)
	}
	if got, err := foreseen.LaunchHash("head"); err != nil || got != hash {
		t.Errorf("foreseen: launch hash %s, %v; upstream's is %s", got, err, hash)
	}
	p := prepared(t, clusterFile, t.TempDir())
	got, err := p.o.Config.LaunchHash("head")
	if err != nil || got != hash {
		t.Errorf("launch hash %s, %v; upstream's is %s, of %s", got, err, hash, spaced)
	}
}

// spaceJSON puts the spaces in that Python puts after commas and colons; the
// texts here have neither outside a key, which has no such pairs.
func spaceJSON(s string) string {
	return strings.NewReplacer(`,"`, `, "`, `":`, `": `, `},{`, `}, {`).Replace(s)
}
