package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"ray/internal/objectstore"
	"ray/internal/objectstore/s3"
)

// spillPrefix begins the names of the directories, and of the files in
// buckets, that nodes spill to.
const spillPrefix = "ray_spilled_objects_"

// spillPlaces is where a node may spill.
type spillPlaces struct {
	dirs []string // parents of the store's own directories
	uris []string // s3://bucket/prefix
	// piece is how many bytes go to a disk in one write; 0: the store's choice.
	piece int
}

// fileTypes are the types of object_spilling_config that mean directories. The
// later ones are those of upstream's own tests.
var fileTypes = []string{"filesystem", "mock_distributed_fs", "unstable_fs", "slow_fs"}

// pathList is one path or a list of them.
type pathList []string

// UnmarshalJSON accepts a string or a list of strings.
func (p *pathList) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*p = pathList{one}
		return nil
	}
	return json.Unmarshal(text, (*[]string)(p))
}

// spillPlaces reads upstream's object_spilling_config.
func (c *Config) spillPlaces() (*spillPlaces, error) {
	text := c.system("object_spilling_config")
	var inner string
	if json.Unmarshal(text, &inner) == nil {
		text = json.RawMessage(inner) // it is a JSON text inside the JSON
	}
	if len(text) == 0 || string(text) == "null" {
		if c.SpillDir != "" {
			return &spillPlaces{dirs: []string{c.SpillDir}}, nil
		}
		return &spillPlaces{dirs: []string{c.SessionDir}}, nil
	}
	var in struct {
		Type   string          `json:"type"`
		Params json.RawMessage `json:"params"`
	}
	if err := json.Unmarshal(text, &in); err != nil {
		return nil, fmt.Errorf("object_spilling_config is not valid: %w", err)
	}
	switch {
	case slices.Contains(fileTypes, in.Type):
		return spillDirectories(in.Params)
	case in.Type == "smart_open":
		return spillURIs(in.Params)
	}
	return nil, fmt.Errorf("not supported yet: object_spilling_config of type %q; use {\"type\": \"filesystem\", \"params\": {\"directory_path\": …}} or {\"type\": \"smart_open\", \"params\": {\"uri\": \"s3://…\"}}", in.Type)
}

// spillParams reads params strictly: a misspelt one would be a surprise later.
func spillParams(text json.RawMessage, into any) error {
	if len(text) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("object_spilling_config: params: %w", err)
	}
	return nil
}

func spillDirectories(text json.RawMessage) (*spillPlaces, error) {
	var in struct {
		Path   pathList `json:"directory_path"`
		Buffer *int     `json:"buffer_size"`
	}
	if err := spillParams(text, &in); err != nil {
		return nil, err
	}
	out := &spillPlaces{dirs: in.Path}
	if len(in.Path) == 0 {
		return nil, fmt.Errorf("object_spilling_config has no params.directory_path")
	}
	if in.Buffer != nil {
		if *in.Buffer <= 0 {
			return nil, fmt.Errorf("object_spilling_config: buffer_size must be a positive number of bytes, not %d", *in.Buffer)
		}
		out.piece = *in.Buffer
	}
	return out, nil
}

func spillURIs(text json.RawMessage) (*spillPlaces, error) {
	var in struct {
		URI    pathList `json:"uri"`
		Buffer *int     `json:"buffer_size"` // nothing is buffered: objects go out of memory as they are
	}
	if err := spillParams(text, &in); err != nil {
		return nil, err
	}
	for _, uri := range in.URI {
		if scheme, _, _ := strings.Cut(uri, "://"); scheme != "s3" {
			return nil, fmt.Errorf("not supported yet: object_spilling_config with the uri %q; use s3://BUCKET/PREFIX, or the type filesystem", uri)
		}
	}
	if len(in.URI) == 0 {
		return nil, fmt.Errorf("object_spilling_config has no params.uri")
	}
	return &spillPlaces{uris: in.URI}, nil
}

// spillAs opens the places to which this node spills: its own, else those of
// the cluster's configuration.
func (d *daemon) spillAs(c *Config) error {
	var out objectstore.Config
	places, err := c.spillPlaces()
	if err == nil {
		err = c.spillNumbers(&out)
	}
	if err != nil {
		return err
	}
	own := spillPrefix + d.self.String()
	stale := staleNodes(places.dirs, d.cfg.SessionDir)
	for _, p := range places.dirs {
		out.SpillDirs = append(out.SpillDirs, filepath.Join(p, own))
	}
	out.Piece = places.piece
	for _, uri := range places.uris {
		b, err := s3.OpenBucket(d.ctx, uri, own+"-")
		if err != nil {
			return fmt.Errorf("object_spilling_config: %w", err)
		}
		out.Remotes, out.OverflowDir = append(out.Remotes, b), filepath.Join(d.cfg.SessionDir, own)
	}
	d.store.Spill(out)
	d.sweepFrom(d.clusterURIs(places.uris), stale)
	return nil
}

// clusterURIs adds those that nodes without settings of their own use.
func (d *daemon) clusterURIs(own []string) []string {
	all := &Config{}
	if len(d.cluster.Config) > 0 && json.Unmarshal(d.cluster.Config, &all.System) == nil {
		if places, err := all.spillPlaces(); err == nil {
			return slices.Compact(slices.Sorted(slices.Values(slices.Concat(own, places.uris))))
		}
	}
	return own
}

// spillNumbers reads the other keys of upstream's that are about spilling.
func (c *Config) spillNumbers(out *objectstore.Config) error {
	threshold, err := c.SystemNumber("local_fs_capacity_threshold", 0.95)
	ahead, err5 := c.SystemNumber("object_spilling_threshold", 0.8)
	least, err2 := c.SystemNumber("min_spilling_size", 100<<20)
	most, err3 := c.SystemNumber("max_fused_object_count", 2000)
	spills, err4 := c.systemBool("automatic_object_spilling_enabled", true)
	// At most nothing, not the store's own default.
	out.DiskThreshold, out.SpillThreshold = max(threshold, 1e-9), max(ahead, 1e-9)
	out.MinSpill, out.MaxFused, out.NoSpill = uint64(max(least, 1)), int(max(most, 1)), !spills
	return errors.Join(err, err2, err3, err4, err5)
}

// CheckSystem finds mistakes in what users configure of the object store,
// before anything is started for it.
func (c *Config) CheckSystem() error {
	_, err := c.spillPlaces()
	return errors.Join(err, c.spillNumbers(&objectstore.Config{}))
}
