package prices

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
)

//go:embed prices.json
var embedded []byte

// Table holds prices in US dollars for one hour of one machine that runs
// Linux, without disks, traffic and taxes.
type Table struct {
	// Date is when the table in the program was made, as 2006-01-02.
	Date   string           `json:"date"`
	Clouds map[string]Cloud `json:"clouds"` // by provider type
}

// Cloud is one provider's part of a table.
type Cloud struct {
	// Regions say how much dearer a region is than those at 1; machines of a
	// region that is not listed have no price.
	Regions map[string]float64 `json:"regions"`
	// SpotShare is what spot machines typically cost, as a share of on demand.
	SpotShare float64 `json:"spot_share"`
	// Families give the price of a unit: an AWS "large", a GCP vCPU. Larger
	// machines of the family cost in proportion.
	Families map[string]float64 `json:"families"`
	// Machines are priced one by one, before Families.
	Machines map[string]float64 `json:"machines"`
	// Accelerators that are added to a machine, each.
	Accelerators map[string]float64 `json:"accelerators,omitempty"`
	// Asked are prices that the provider gave, by region and machine; they go
	// before everything else.
	Asked map[string]map[string]Price `json:"asked,omitempty"`
}

// Price of a machine; 0 is not known.
type Price struct {
	OnDemand float64 `json:"on_demand,omitempty"`
	Spot     float64 `json:"spot,omitempty"`
	Date     string  `json:"date"` // when it was asked
}

// Builtin gives the table in the program.
var Builtin = sync.OnceValue(func() *Table {
	t, err := parse(embedded)
	if err != nil {
		panic("prices: " + err.Error())
	}
	return t
})

func parse(data []byte) (*Table, error) {
	var t Table
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&t); err != nil {
		return nil, err
	}
	return &t, nil
}

// Load gives the table in the program with what Save has stored at path; a
// file that is not there changes nothing.
func Load(path string) (*Table, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Builtin(), nil
	}
	if err != nil {
		return nil, fmt.Errorf("prices: %w", err)
	}
	var asked map[string]map[string]map[string]Price
	if err := json.Unmarshal(data, &asked); err != nil {
		return nil, fmt.Errorf("prices: %s: %w; remove the file to use the prices in the program", path, err)
	}
	t, err := parse(embedded)
	if err != nil {
		return nil, err
	}
	for cloud, regions := range asked {
		c := t.Clouds[cloud]
		c.Asked = regions
		t.Clouds[cloud] = c
	}
	return t, nil
}

// Machine gives the price of one machine for an hour; false if the table does
// not know it.
func (t *Table) Machine(cloud, region, machine string, spot bool) (float64, bool) {
	c, known := t.Clouds[cloud]
	if !known {
		return 0, false
	}
	if p, ok := c.Asked[region][machine]; ok {
		if spot && p.Spot > 0 {
			return p.Spot, true
		}
		if p.OnDemand > 0 {
			return c.market(p.OnDemand, spot), true
		}
	}
	factor, ok := c.Regions[region]
	if !ok {
		return 0, false
	}
	base, ok := c.base(machine)
	return c.market(base*factor, spot), ok
}

// asked is when a machine's price was asked of the provider, "" if it is the
// table's.
func (t *Table) asked(cloud, region, machine string) string {
	return t.Clouds[cloud].Asked[region][machine].Date
}

// Accelerator gives the price of one accelerator for an hour.
func (t *Table) Accelerator(cloud, region, name string, spot bool) (float64, bool) {
	c := t.Clouds[cloud]
	if p := c.Asked[region][name]; p.OnDemand > 0 {
		if spot && p.Spot > 0 {
			return p.Spot, true
		}
		return c.market(p.OnDemand, spot), true
	}
	factor, ok := c.Regions[region]
	base, known := c.Accelerators[name]
	return c.market(base*factor, spot), ok && known
}

func (c Cloud) market(price float64, spot bool) float64 {
	if spot {
		return price * c.SpotShare
	}
	return price
}

// base is the price in a region at 1.
func (c Cloud) base(machine string) (float64, bool) {
	if p, ok := c.Machines[machine]; ok {
		return p, true
	}
	if family, size, ok := strings.Cut(machine, "."); ok { // m5.2xlarge
		unit, known := c.Families[family]
		n := larges(size)
		return unit * n, known && n > 0
	}
	i := strings.LastIndexByte(machine, '-') // n1-standard-4
	if i < 0 {
		return 0, false
	}
	unit, known := c.Families[machine[:i]]
	n, err := strconv.Atoi(machine[i+1:])
	return unit * float64(n), known && err == nil && n > 0
}

// larges is how many "large" an AWS size is worth, 0 if it is no size.
func larges(size string) float64 {
	switch size {
	case "nano":
		return 1. / 16
	case "micro":
		return 1. / 8
	case "small":
		return 1. / 4
	case "medium":
		return 1. / 2
	case "large":
		return 1
	case "xlarge":
		return 2
	}
	n, err := strconv.Atoi(strings.TrimSuffix(size, "xlarge"))
	if err != nil || !strings.HasSuffix(size, "xlarge") || n < 2 {
		return 0
	}
	return 2 * float64(n)
}
