package jobs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"ray/internal/gcs"
	"ray/internal/spec"
	"ray/internal/wire"
)

const (
	lastChars = 20_000 // of output in the message of a failed job
	followGap = 100 * time.Millisecond
)

func logFile(id string) string { return "job-driver-" + id + ".log" }

// read gets a piece of a job's output from the node that ran it.
func (s *Service) read(ctx context.Context, j spec.Job, offset int64, lines int) ([]byte, wire.LogChunk, error) {
	var chunk wire.LogChunk
	if j.NodeID.IsZero() {
		return nil, wire.LogChunk{EOF: true}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	data, err := s.cluster.CallNode(ctx, j.NodeID, wire.MethodLogRead,
		wire.LogRead{File: logFile(j.SubmissionID), Offset: offset, Lines: lines}, &chunk, nil)
	if info := new(spec.ErrorInfo); errors.As(err, &info) && info.Type == wire.ErrNoLogFile {
		return nil, wire.LogChunk{EOF: true}, nil // nothing has run there yet, or ever
	}
	return data, chunk, err
}

// Logs is a job's whole output so far.
func (s *Service) Logs(ctx context.Context, j spec.Job) (string, error) {
	var all bytes.Buffer
	for offset := int64(0); ; {
		data, chunk, err := s.read(ctx, j, offset, 0)
		if err != nil {
			return "", fmt.Errorf("the output of job %s could not be read from its node: %w", j.SubmissionID, err)
		}
		all.Write(missing(offset, chunk))
		all.Write(data)
		if chunk.EOF || len(data) == 0 {
			return all.String(), nil
		}
		offset = chunk.Next
	}
}

// missing tells in the output what is not there any more.
func missing(offset int64, chunk wire.LogChunk) []byte {
	if chunk.Start <= offset {
		return nil
	}
	return fmt.Appendf(nil, "[%d bytes of output are missing here: the log had grown beyond its bound (RAY_ROTATION_MAX_BYTES, RAY_ROTATION_BACKUP_COUNT)]\n", chunk.Start-offset)
}

// forget removes the output of a job that has ended, if its node is still
// there. The row must go only then: a new job may have its id.
func (s *Service) forget(ctx context.Context, j spec.Job) {
	if j.NodeID.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	in := wire.DriverForget{SubmissionID: j.SubmissionID}
	if _, err := s.cluster.CallNode(ctx, j.NodeID, wire.MethodDriverForget, in, nil, nil); err != nil {
		s.log.Info("the output of a deleted job was not removed", "job", j.SubmissionID, "node", j.NodeID, "err", err)
	}
}

// lastOutput is the end of a job's output, "" if it cannot be had.
func (s *Service) lastOutput(id string) string {
	j, ok := s.cluster.Job(id)
	if !ok {
		return ""
	}
	data, _, err := s.read(s.ctx, j, 0, 1000)
	if err != nil {
		return ""
	}
	if len(data) > lastChars {
		data = data[len(data)-lastChars:]
	}
	return string(data)
}

// Follow gives a job's output, from an offset on, to send piece by piece until
// the job has ended and all of it was sent. next is the offset behind a piece.
func (s *Service) Follow(ctx context.Context, id string, offset int64, send func(data []byte, next int64) error) error {
	for {
		changed := s.watch(id)
		j, ok := s.cluster.Job(id)
		if !ok {
			return errors.New("the job was deleted")
		}
		ended := gcs.Terminal(j.Status)
		data, chunk, err := s.read(ctx, j, offset, 0)
		if err != nil {
			if ended || ctx.Err() != nil {
				return err
			}
		}
		if len(data) > 0 {
			gap := missing(offset, chunk)
			offset = chunk.Next
			if err := send(append(gap, data...), offset); err != nil {
				return err
			}
			continue
		}
		if ended && err == nil {
			return nil
		}
		if err := s.sleepOrChange(ctx, changed, followGap); err != nil {
			return err
		}
	}
}
