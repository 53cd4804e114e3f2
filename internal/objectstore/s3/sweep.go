package s3

import (
	"context"
	"errors"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Sweep removes the files, and the beginnings of such, whose names gone says
// belong to nobody any more, and tells how many they were.
func (b *Bucket) Sweep(ctx context.Context, gone func(name string) bool) (n int, err error) {
	pages := s3.NewListObjectsV2Paginator(b.client, &s3.ListObjectsV2Input{Bucket: &b.name, Prefix: &b.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, b.explain(err)
		}
		var names []string
		for _, file := range page.Contents {
			if name := strings.TrimPrefix(*file.Key, b.prefix); gone(name) {
				names = append(names, name)
			}
		}
		if err := b.Delete(ctx, names...); err != nil {
			return n, err
		}
		n += len(names)
	}
	parts, err := b.sweepParts(ctx, gone)
	return n + parts, err
}

// sweepParts ends uploads that somebody began and did not finish: their parts
// take room that no list of files shows.
func (b *Bucket) sweepParts(ctx context.Context, gone func(name string) bool) (n int, err error) {
	pages := s3.NewListMultipartUploadsPaginator(b.client, &s3.ListMultipartUploadsInput{Bucket: &b.name, Prefix: &b.prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return n, b.explain(err)
		}
		var errs []error
		for _, up := range page.Uploads {
			if !gone(strings.TrimPrefix(*up.Key, b.prefix)) {
				continue
			}
			_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.name, Key: up.Key, UploadId: up.UploadId})
			errs = append(errs, b.explain(err))
			n++
		}
		if err := errors.Join(errs...); err != nil {
			return n, err
		}
	}
	return n, nil
}
