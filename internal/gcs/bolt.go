package gcs

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Bolt is a Store in one file, which a file lock gives to one process at a time.
type Bolt struct {
	db   *bbolt.DB
	path string
}

var (
	metaBucket = []byte("\x00meta")
	termKey    = []byte("term")
)

// lockWait is how long OpenBolt waits for a head that is just going away.
const lockWait = 3 * time.Second

// OpenBolt opens or makes the file (0600).
func OpenBolt(path string) (*Bolt, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("control state: %w", err)
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: lockWait, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("control state %s is in use by another head; stop that one first (ray stop)", path)
	}
	if err != nil {
		return nil, fmt.Errorf("control state %s: %w", path, err)
	}
	return &Bolt{db: db, path: path}, nil
}

// Load implements Store.
func (b *Bolt) Load() (Rows, uint64, error) {
	rows, term := Rows{}, uint64(0)
	err := b.db.Update(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucketIfNotExists(metaBucket)
		if err != nil {
			return err
		}
		if v := meta.Get(termKey); len(v) == 8 {
			term = binary.LittleEndian.Uint64(v)
		}
		term++
		if err := meta.Put(termKey, binary.LittleEndian.AppendUint64(nil, term)); err != nil {
			return err
		}
		return tx.ForEach(func(name []byte, bucket *bbolt.Bucket) error {
			if string(name) == string(metaBucket) {
				return nil
			}
			table := map[string][]byte{}
			rows[string(name)] = table
			return bucket.ForEach(func(k, v []byte) error {
				// An empty value is not a deleted one.
				table[string(k)] = append([]byte{}, v...)
				return nil
			})
		})
	})
	if err != nil {
		return nil, 0, b.fault("read", err)
	}
	return rows, term, nil
}

// Commit implements Store; it returns after the file is synced.
func (b *Bolt) Commit(writes []Write, term uint64) error {
	err := b.db.Update(func(tx *bbolt.Tx) error {
		meta := tx.Bucket(metaBucket)
		if meta == nil || binary.LittleEndian.Uint64(slices.Concat(meta.Get(termKey), make([]byte, 8))) != term {
			return ErrStaleTerm
		}
		for _, w := range writes {
			bucket, err := tx.CreateBucketIfNotExists([]byte(w.Table))
			if err != nil {
				return err
			}
			if w.Value == nil {
				err = bucket.Delete([]byte(w.Key))
			} else {
				err = bucket.Put([]byte(w.Key), w.Value)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if errors.Is(err, ErrStaleTerm) {
		return err
	}
	return b.fault("write", err)
}

// Close implements Store.
func (b *Bolt) Close() error { return b.fault("close", b.db.Close()) }

func (b *Bolt) fault(what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return ErrClosed
	default:
		return fmt.Errorf("could not %s the control state %s: %w", what, b.path, err)
	}
}
