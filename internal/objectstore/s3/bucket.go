package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

const (
	// attempts is how often a request is sent before its file counts as lost:
	// with the SDK's pauses, of at most 20 s, that outlasts short failures.
	attempts = 8
	// partSize is what goes into one request; more than that is sent in parts,
	// streams of them at once. The service takes 10,000 parts at most.
	partSize = 64 << 20
	maxParts = 10_000
	streams  = 4
	// looking bounds the first question about a bucket.
	looking = 10 * time.Second
)

// Bucket is a bucket, or the part of one below a prefix, as a place for files.
// Safe for concurrent use.
type Bucket struct {
	client *s3.Client
	name   string
	prefix string
}

// OpenBucket finds the bucket of s3://bucket/prefix. A file of that Bucket is
// prefix/NAME, where NAME begins with begin. That there is no such bucket is
// an error; a store that does not answer is not, as it may do so later.
func OpenBucket(ctx context.Context, uri, begin string) (*Bucket, error) {
	rest, ok := strings.CutPrefix(uri, "s3://")
	name, prefix, _ := strings.Cut(rest, "/")
	if !ok || name == "" {
		return nil, fmt.Errorf("%q is not s3://BUCKET or s3://BUCKET/PREFIX", uri)
	}
	if prefix = strings.Trim(prefix, "/"); prefix != "" {
		prefix += "/"
	}
	options := []func(*config.LoadOptions) error{config.WithDefaultRegion(fallbackRegion)}
	if os.Getenv("AWS_MAX_ATTEMPTS") == "" {
		options = append(options, config.WithRetryMaxAttempts(attempts))
	}
	cfg, err := config.LoadDefaultConfig(ctx, options...)
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration cannot be read: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, looking)
	defer cancel()
	_, err = s3.NewFromConfig(cfg, style).HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &name})
	if region := elsewhere(err); region != "" {
		cfg.Region = region
	}
	var none *types.NotFound
	if errors.As(err, &none) {
		return nil, fmt.Errorf("there is no bucket %s", name)
	}
	return &Bucket{s3.NewFromConfig(cfg, style), name, prefix + begin}, nil
}

func (b *Bucket) key(name string) *string { return aws.String(b.prefix + name) }

// Put makes a file of the size bytes of body.
func (b *Bucket) Put(ctx context.Context, name string, body io.ReaderAt, size int64) error {
	if size <= partSize {
		_, err := b.client.PutObject(ctx, &s3.PutObjectInput{Bucket: &b.name, Key: b.key(name),
			Body: io.NewSectionReader(body, 0, size), ContentLength: &size})
		return b.explain(err)
	}
	up, err := b.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &b.name, Key: b.key(name)})
	if err != nil {
		return b.explain(err)
	}
	parts, err := b.putParts(ctx, up, body, size)
	if err == nil {
		_, err = b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{Bucket: &b.name, Key: up.Key, UploadId: up.UploadId,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts}})
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), looking)
		defer cancel()
		_, abortErr := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: up.Key, UploadId: up.UploadId})
		return errors.Join(b.explain(err), abortErr)
	}
	return nil
}

// putParts sends the parts of a file, several at a time.
func (b *Bucket) putParts(ctx context.Context, up *s3.CreateMultipartUploadOutput, body io.ReaderAt, size int64) ([]types.CompletedPart, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	each := max(partSize, (size+maxParts-1)/maxParts)
	parts := make([]types.CompletedPart, (size+each-1)/each)
	next := make(chan int, len(parts))
	for i := range parts {
		next <- i
	}
	close(next)
	var senders sync.WaitGroup
	for range min(streams, len(parts)) {
		senders.Go(func() {
			for i := range next {
				off := int64(i) * each
				n := min(each, size-off)
				number := aws.Int32(int32(i + 1))
				out, err := b.client.UploadPart(ctx, &s3.UploadPartInput{Bucket: &b.name, Key: up.Key, UploadId: up.UploadId,
					PartNumber: number, Body: io.NewSectionReader(body, off, n), ContentLength: &n})
				if err != nil {
					cancel(err) // the others stop too: the first error is the cause
					return
				}
				parts[i] = types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumCRC32: out.ChecksumCRC32}
			}
		})
	}
	senders.Wait()
	return parts, context.Cause(ctx)
}

// Get fills dst with the bytes at off of a file.
func (b *Bucket) Get(ctx context.Context, name string, off int64, dst []byte) error {
	if len(dst) == 0 {
		return nil
	}
	out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.name, Key: b.key(name),
		Range: aws.String(fmt.Sprintf("bytes=%d-%d", off, off+int64(len(dst))-1))})
	if err != nil {
		return b.explain(err)
	}
	_, err = io.ReadFull(out.Body, dst)
	return errors.Join(err, out.Body.Close())
}

// Delete removes files; those that are not there are no error.
func (b *Bucket) Delete(ctx context.Context, names ...string) error {
	next := make(chan string, len(names))
	for _, n := range names {
		next <- n
	}
	close(next)
	errs := make([]error, min(streams, len(names)))
	var all sync.WaitGroup
	for i := range errs {
		all.Go(func() {
			for n := range next {
				_, err := b.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &b.name, Key: b.key(n)})
				errs[i] = errors.Join(errs[i], b.explain(err))
			}
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

func (b *Bucket) explain(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("s3://%s: %w", b.name, explain(err, b.name))
}
