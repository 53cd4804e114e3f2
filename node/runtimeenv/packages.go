package runtimeenv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"ray/internal/objectstore/gs"
	"ray/internal/objectstore/s3"
)

// maxPackage bounds what is fetched, as the upload of packages is bounded.
const maxPackage = 512 << 20

var (
	schemes      = []string{"gcs", "file", "http", "https", "s3", "gs"}
	laterSchemes = []string{"azure", "abfss"}
)

// checkURI tells whether a package of this URI could be brought at all.
func checkURI(uri string) error {
	scheme, rest, ok := strings.Cut(uri, "://")
	switch {
	case !ok:
		return fmt.Errorf("%q is no package URI: local folders are uploaded by the driver or the job's submitter", uri)
	case slices.Contains(laterSchemes, scheme):
		return fmt.Errorf("not supported yet: packages from %s:// (%s); use s3://, gs://, https://, file:// on every node, or a local folder of the driver", scheme, uri)
	case !slices.Contains(schemes, scheme):
		return fmt.Errorf("package URI %s has the unknown scheme %q; known are %s", masked(uri), scheme, strings.Join(schemes, ", "))
	}
	if bucket, key, _ := strings.Cut(rest, "/"); (scheme == "s3" || scheme == "gs") && (bucket == "" || key == "") {
		return fmt.Errorf("package URI %s must be %s://BUCKET/NAME.zip", uri, scheme)
	}
	if format := formatOf(rest); format == "" && scheme != "gcs" {
		return fmt.Errorf("package URI %s names no archive: its name must end in .zip, .tar.gz, .tgz or .whl", masked(uri))
	} else if format == ".tar.xz" {
		return fmt.Errorf("not supported yet: .tar.xz packages (%s); use .zip or .tar.gz", masked(uri))
	}
	return nil
}

// formatOf gives the suffix that says how a package is packed, "" if none.
func formatOf(name string) string {
	name, _, _ = strings.Cut(name, "?")
	for _, suffix := range []string{".zip", ".whl", ".tar.gz", ".tgz", ".tar.xz", ".jar"} {
		if strings.HasSuffix(name, suffix) {
			return suffix
		}
	}
	return ""
}

// packageRecipe fetches and unpacks the package of a URI.
func (m *Manager) packageRecipe(uri string) recipe {
	return recipe{
		id:    "package-" + digest(uri),
		title: masked(uri),
		make: func(ctx context.Context, root string, out *output) error {
			out.begin("fetch " + masked(uri))
			data, err := m.bring(ctx, uri)
			if err != nil {
				return fmt.Errorf("fetch: %w", err)
			}
			out.begin("unpack " + masked(uri))
			if err := os.Mkdir(root, 0o755); err != nil {
				return err
			}
			strip := !strings.HasPrefix(uri, "gcs://")
			switch formatOf(uri) {
			case ".tar.gz", ".tgz":
				return untar(data, root, strip)
			case ".whl":
				return unwheel(data, root)
			}
			return unzip(data, root, strip)
		},
	}
}

func (m *Manager) bring(ctx context.Context, uri string) ([]byte, error) {
	scheme, rest, _ := strings.Cut(uri, "://")
	switch scheme {
	case "gcs":
		return m.cfg.Fetch(ctx, uri)
	case "file":
		f, err := os.Open(path.Clean(rest))
		if err != nil {
			return nil, err
		}
		defer f.Close()
		return bounded(f)
	case "s3":
		return fromBucket(ctx, rest, s3.Open)
	case "gs":
		return fromBucket(ctx, rest, gs.Open)
	default:
		return download(ctx, uri)
	}
}

// fromBucket reads an object; place is bucket/name.
func fromBucket(ctx context.Context, place string, open func(ctx context.Context, bucket, name string) (io.ReadCloser, error)) ([]byte, error) {
	bucket, name, _ := strings.Cut(place, "/")
	body, err := open(ctx, bucket, name)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	return bounded(body)
}

// downloadTimeout bounds the wait for a server's first answer.
const downloadTimeout = time.Minute

func download(ctx context.Context, uri string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, uri, nil)
	if err != nil {
		return nil, errors.New(masked(err.Error()))
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.ResponseHeaderTimeout = downloadTimeout
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, errors.New(masked(err.Error()))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s", res.Status)
	}
	return bounded(res.Body)
}

func bounded(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxPackage+1))
	if err == nil && len(data) > maxPackage {
		err = fmt.Errorf("it is larger than a package may be (%d MiB)", maxPackage>>20)
	}
	return data, err
}
