// Package s3 reads and writes objects of S3 and of stores that speak its
// protocol. It exists so that the rest of the program can fetch s3:// packages
// and spill to a bucket without knowing the SDK. A node and its runtime
// environments may import it.
package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// fallbackRegion is asked where nothing names a region; every bucket's own
// region is told there.
const fallbackRegion = "us-east-1"

// Open gives the content of s3://bucket/key. Credentials, region and endpoint
// are found as every AWS tool finds them: environment, ~/.aws, the machine's
// role; AWS_ENDPOINT_URL names another store. The caller closes the reader.
func Open(ctx context.Context, bucket, key string) (io.ReadCloser, error) {
	cfg, err := config.LoadDefaultConfig(ctx, config.WithDefaultRegion(fallbackRegion))
	if err != nil {
		return nil, fmt.Errorf("the AWS configuration cannot be read: %w", err)
	}
	body, err := get(ctx, s3.NewFromConfig(cfg, style), bucket, key)
	if region := elsewhere(err); region != "" && region != cfg.Region {
		cfg.Region = region
		body, err = get(ctx, s3.NewFromConfig(cfg, style), bucket, key)
	}
	if err != nil {
		return nil, explain(err, bucket)
	}
	return body, nil
}

// style: stores other than AWS seldom have a host name for each bucket.
func style(o *s3.Options) {
	o.UsePathStyle = os.Getenv("AWS_ENDPOINT_URL") != "" || os.Getenv("AWS_ENDPOINT_URL_S3") != ""
}

func get(ctx context.Context, c *s3.Client, bucket, key string) (io.ReadCloser, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return nil, err
	}
	return out.Body, nil
}

// elsewhere gives the region that an answer points to, "" if it does not.
func elsewhere(err error) string {
	var res *smithyhttp.ResponseError
	if !errors.As(err, &res) || res.HTTPStatusCode() != http.StatusMovedPermanently && res.HTTPStatusCode() != http.StatusBadRequest {
		return ""
	}
	return res.Response.Header.Get("X-Amz-Bucket-Region")
}

// explain says what to do about an answer that means something to a user.
func explain(err error, bucket string) error {
	var api smithy.APIError
	switch {
	case errors.As(err, &api):
		switch api.ErrorCode() {
		case "NoSuchKey", "NotFound":
			return fmt.Errorf("the bucket %s has no such object", bucket)
		case "NoSuchBucket":
			return fmt.Errorf("there is no bucket %s", bucket)
		case "AccessDenied", "Forbidden", "InvalidAccessKeyId", "SignatureDoesNotMatch":
			return fmt.Errorf("the node may not use the bucket %s (%s): give the node's role s3:GetObject (to spill there, s3:PutObject, s3:DeleteObject and s3:ListBucket too), or its environment AWS credentials", bucket, api.ErrorCode())
		}
		return fmt.Errorf("%s: %s", api.ErrorCode(), api.ErrorMessage())
	case strings.Contains(err.Error(), "get credentials"):
		return fmt.Errorf("the node has no AWS credentials (looked in the environment, ~/.aws and the machine's role): %w", err)
	}
	return err
}
