package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"ray/internal/cluster"
)

// shipper brings local folders and archives to the cluster as packages.
type shipper struct {
	*api
	excludes []string
	say      io.Writer
}

// archiveSuffixes are those of files that are packages by themselves.
var archiveSuffixes = []string{".zip", ".tar.gz", ".tgz"}

// ship gives the URI of a package that the cluster has. A URI comes back as it
// is; of a module's folder, the folder itself is in the package, too.
func (s *shipper) ship(ctx context.Context, place string, module bool) (string, error) {
	if strings.Contains(place, "://") {
		return place, nil
	}
	local := cluster.ExpandHome(place)
	info, err := os.Stat(local)
	if err != nil {
		return "", err
	}
	var name string
	var content []byte
	suffix := archiveSuffix(local, module)
	switch {
	case info.IsDir():
		name, content, err = packDir(local, s.excludes, module)
	case suffix != "":
		name, content, err = readArchive(local, info.Size(), suffix)
	case module && filepath.Ext(local) == ".py":
		name, content, err = packFile(local)
	default:
		err = fmt.Errorf("%s is neither a directory nor an archive (%s)", place, strings.Join(archiveSuffixes, ", "))
	}
	if err != nil {
		return "", err
	}
	if err := s.upload(ctx, name, content); err != nil {
		return "", fmt.Errorf("upload %s: %w", place, err)
	}
	return "gcs://" + name, nil
}

// archiveSuffix is the ending that makes a file a package, "" if it is none.
func archiveSuffix(file string, module bool) string {
	suffixes := archiveSuffixes
	if module {
		suffixes = append(suffixes[:len(suffixes):len(suffixes)], ".whl")
	}
	for _, suffix := range suffixes {
		if strings.HasSuffix(file, suffix) {
			return suffix
		}
	}
	return ""
}

func readArchive(file string, size int64, suffix string) (name string, content []byte, err error) {
	if size > maxPackage {
		return "", nil, fmt.Errorf("%s has %d MiB, and a package may have %d MiB: bring it to the cluster another way, or give its URI", file, size>>20, maxPackage>>20)
	}
	content, err = os.ReadFile(file)
	sum := sha256.Sum256(content)
	return packageName(sum[:], suffix), content, err
}

// packageName names a package by the checksum of its content.
func packageName(sum []byte, suffix string) string {
	return "_ray_pkg_" + hex.EncodeToString(sum[:8]) + suffix
}

// upload sends a package unless the cluster has it.
func (s *shipper) upload(ctx context.Context, name string, content []byte) error {
	path := "/api/packages/gcs/" + name
	err := s.call(ctx, http.MethodGet, path, nil, nil, nil)
	if answer := new(apiError); !errors.As(err, &answer) || answer.status != http.StatusNotFound {
		return err
	}
	_, _ = fmt.Fprintf(s.say, "Uploading package gcs://%s (%.2f MiB).\n", name, float64(len(content))/(1<<20))
	r, err := s.request(ctx, http.MethodPut, path, nil, bytes.NewReader(content))
	if err != nil {
		return err
	}
	body, err := s.send(r)
	if err == nil {
		_ = body.Close()
	}
	return err
}
