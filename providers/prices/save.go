package prices

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"ray/internal/session"
)

// FileName of stored prices in the launcher's state directory, and in the home
// of a head, whose autoscaler reads them.
const FileName = "ray_prices.json"

// Save stores prices that a provider gave, by region and machine, besides
// those that are stored at path already.
func Save(path, cloud string, asked map[string]map[string]Price) error {
	all := map[string]map[string]map[string]Price{}
	data, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	_ = json.Unmarshal(data, &all) // a broken file is replaced
	if all[cloud] == nil {
		all[cloud] = map[string]map[string]Price{}
	}
	for region, machines := range asked {
		if all[cloud][region] == nil {
			all[cloud][region] = map[string]Price{}
		}
		maps.Copy(all[cloud][region], machines)
	}
	if data, err = json.MarshalIndent(all, "", " "); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return session.WriteFile(path, append(data, '\n'))
}
