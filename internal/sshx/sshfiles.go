package sshx

import (
	"context"
	"io/fs"
)

// Upload implements Host.
func (s *SSH) Upload(ctx context.Context, local, remote string, filter Filter) error {
	return uploadStream(ctx, s, local, remote, filter)
}

// Download implements Host.
func (s *SSH) Download(ctx context.Context, remote, local string, filter Filter) error {
	return downloadStream(ctx, s, remote, local, filter)
}

// WriteFile implements Host.
func (s *SSH) WriteFile(ctx context.Context, remote string, data []byte, mode fs.FileMode) error {
	return writeByCommand(ctx, s, remote, data, mode)
}

// ReadFile implements Host.
func (s *SSH) ReadFile(ctx context.Context, remote string) ([]byte, error) {
	return readByCommand(ctx, s, remote)
}
