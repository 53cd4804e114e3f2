package s3

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

func TestFilesOfABucket(t *testing.T) {
	moto(t)
	cfg, err := config.LoadDefaultConfig(t.Context(), config.WithDefaultRegion(fallbackRegion))
	if err != nil {
		t.Fatal(err)
	}
	name, client := "spill", s3.NewFromConfig(cfg, style)
	if _, err := client.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: &name}); err != nil {
		t.Fatal(err)
	}
	b, err := OpenBucket(t.Context(), "s3://spill/some/where/", "node-")
	if err != nil {
		t.Fatal(err)
	}
	large := make([]byte, partSize+12345) // in two parts
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(large) // never fails
	for name, data := range map[string][]byte{"small": []byte("0123456789"), "empty": nil, "large": large} {
		if err := b.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		from := len(data) / 2
		got := make([]byte, len(data)-from)
		if err := b.Get(t.Context(), name, int64(from), got); err != nil || !bytes.Equal(got, data[from:]) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := b.Get(t.Context(), "small", 5, make([]byte, 6)); err == nil {
		t.Error("more was read than there is")
	}
	list, err := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &name})
	if err != nil || len(list.Contents) != 3 || *list.Contents[0].Key != "some/where/node-empty" {
		t.Errorf("%+v %v", list.Contents, err)
	}
	began := s3.CreateMultipartUploadInput{Bucket: &name, Key: b.key("begun")}
	if _, err := client.CreateMultipartUpload(t.Context(), &began); err != nil {
		t.Fatal(err)
	}
	n, err := b.Sweep(t.Context(), func(name string) bool { return name == "empty" || name == "begun" })
	if err != nil || n != 2 {
		t.Errorf("%d are swept away: %v", n, err)
	}
	ups, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: &name})
	list, err2 := client.ListObjectsV2(t.Context(), &s3.ListObjectsV2Input{Bucket: &name})
	if err != nil || err2 != nil || len(ups.Uploads) != 0 || len(list.Contents) != 2 {
		t.Errorf("left: %+v %+v, %v %v", ups, list, err, err2)
	}
	if err := b.Delete(t.Context(), "small", "empty", "large", "none"); err != nil {
		t.Error(err)
	}
	if err := b.Get(t.Context(), "small", 0, make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "no such object") {
		t.Error(err)
	}
	if _, err := OpenBucket(t.Context(), "s3://nobucket/x", ""); err == nil || !strings.Contains(err.Error(), "there is no bucket nobucket") {
		t.Error(err)
	}
	for _, uri := range []string{"gs://b", "s3://", "s3:///x"} {
		if _, err := OpenBucket(t.Context(), uri, ""); err == nil {
			t.Errorf("%s is accepted", uri)
		}
	}
}
