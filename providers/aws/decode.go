package aws

import (
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"ray/internal/cluster"
	"ray/providers"
)

// FieldError is one mistake in a node_config.
type FieldError struct{ Path, Message string }

func (e FieldError) Error() string { return e.Path + ": " + e.Message }

// launchSpec is a node_config that was understood.
type launchSpec struct {
	input        ec2.RunInstancesInput
	subnets      []string
	types        []string
	spotFallback bool
}

// Keys of a node_config that EC2 does not know.
const (
	keySubnets  = "SubnetIds"
	keyTypes    = "InstanceTypes"
	keyFallback = "SpotFallback"
)

// own are the keys that the provider sets itself.
var own = map[string]string{
	"MinCount": "the number is the cluster's to choose: set min_workers", "MaxCount": "the number is the cluster's to choose: set max_workers",
	"ClientToken": "the provider chooses it, so that repeating a request makes nothing twice", "DryRun": "use `ray up --plan`",
}

// parse understands the node_config m; path is where it stands in the file.
// All mistakes are returned, in the order of their paths.
func parse(m map[string]any, path string) (launchSpec, []FieldError) {
	var s launchSpec
	d := &decoder{}
	rest := maps.Clone(m)
	d.take(rest, keySubnets, path, reflect.ValueOf(&s.subnets).Elem())
	d.take(rest, keyTypes, path, reflect.ValueOf(&s.types).Elem())
	d.take(rest, keyFallback, path, reflect.ValueOf(&s.spotFallback).Elem())
	for key, why := range own {
		if _, ok := rest[key]; ok {
			d.add(path+"."+key, "not for a cluster file; %s", why)
			delete(rest, key)
		}
	}
	d.object(rest, reflect.ValueOf(&s.input).Elem(), path, keySubnets, keyTypes, keyFallback)
	if s.input.UserData != nil {
		s.input.UserData = aws.String(base64.StdEncoding.EncodeToString([]byte(*s.input.UserData)))
	}
	if id := aws.ToString(s.input.SubnetId); id != "" && len(s.subnets) == 0 {
		s.subnets = []string{id}
	}
	if len(s.types) == 0 && s.input.InstanceType != "" {
		s.types = []string{string(s.input.InstanceType)}
	}
	if len(s.input.NetworkInterfaces) > 0 && (len(s.subnets) > 0 || len(s.input.SecurityGroupIds) > 0) {
		d.add(path+".NetworkInterfaces", "excludes SubnetId, SubnetIds and SecurityGroupIds: give them in the interfaces")
	}
	slices.SortFunc(d.errs, func(a, b FieldError) int { return strings.Compare(a.Path, b.Path) })
	return s, d.errs
}

// decoder fills the SDK's own types, so that what EC2 takes is what is taken.
type decoder struct{ errs []FieldError }

func (d *decoder) add(path, format string, args ...any) {
	d.errs = append(d.errs, FieldError{path, fmt.Sprintf(format, args...)})
}

func (d *decoder) take(m map[string]any, key, path string, into reflect.Value) {
	if v, ok := m[key]; ok {
		d.value(v, into, path+"."+key)
		delete(m, key)
	}
}

func (d *decoder) object(m map[string]any, into reflect.Value, path string, also ...string) {
	t := into.Type()
	for _, key := range slices.Sorted(maps.Keys(m)) {
		f, ok := t.FieldByName(key)
		if !ok || !f.IsExported() || f.Name == "ResultMetadata" {
			d.add(path+"."+key, "unknown field%s", suggest(key, append(fieldNames(t), also...)))
			continue
		}
		d.value(m[key], into.FieldByIndex(f.Index), path+"."+key)
	}
}

func suggest(word string, known []string) string {
	if n, ok := cluster.Nearest(word, known); ok {
		return `; did you mean "` + n + `"?`
	}
	return "; known are " + strings.Join(known, ", ")
}

func fieldNames(t reflect.Type) []string {
	var names []string
	for f := range t.Fields() {
		if _, reserved := own[f.Name]; f.IsExported() && !reserved {
			names = append(names, f.Name)
		}
	}
	return names
}

func (d *decoder) value(v any, into reflect.Value, path string) {
	if v == nil {
		return
	}
	if into.Type() == reflect.TypeFor[*time.Time]() {
		d.time(v, into, path)
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		into.Set(reflect.New(into.Type().Elem()))
		d.value(v, into.Elem(), path)
	case reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			d.object(m, into, path)
			return
		}
		d.wrong(v, "a mapping", path)
	case reflect.Slice:
		list, ok := v.([]any)
		if !ok {
			d.wrong(v, "a list", path)
			return
		}
		into.Set(reflect.MakeSlice(into.Type(), len(list), len(list)))
		for i, item := range list {
			d.value(item, into.Index(i), fmt.Sprintf("%s[%d]", path, i))
		}
	default:
		d.scalar(v, into, path)
	}
}

func (d *decoder) scalar(v any, into reflect.Value, path string) {
	switch into.Kind() {
	case reflect.String:
		s, ok := v.(string)
		if n, number := v.(int64); number && strings.HasSuffix(path, ".LaunchTemplate.Version") {
			s, ok = strconv.FormatInt(n, 10), true // people write it so
		}
		if !ok {
			d.wrong(v, "text; put it in quotes", path)
			return
		}
		into.SetString(s)
		d.enum(s, into, path)
	case reflect.Bool:
		b, ok := v.(bool)
		if !ok {
			d.wrong(v, "true or false", path)
			return
		}
		into.SetBool(b)
	case reflect.Int32, reflect.Int64:
		n, ok := v.(int64)
		if !ok || into.Kind() == reflect.Int32 && (n > math.MaxInt32 || n < math.MinInt32) {
			d.wrong(v, "a whole number", path)
			return
		}
		into.SetInt(n)
	case reflect.Float32, reflect.Float64:
		switch n := v.(type) {
		case int64:
			into.SetFloat(float64(n))
		case float64:
			into.SetFloat(n)
		default:
			d.wrong(v, "a number", path)
		}
	default:
		d.add(path, "not supported yet: fields of this shape")
	}
}

// enum checks a text that is one of a few. Instance types are left to EC2,
// which has new ones every month.
func (d *decoder) enum(s string, into reflect.Value, path string) {
	values := into.MethodByName("Values")
	if !values.IsValid() || into.Type() == reflect.TypeFor[types.InstanceType]() {
		return
	}
	var known []string
	list := values.Call(nil)[0]
	for i := range list.Len() {
		known = append(known, list.Index(i).String())
	}
	if !slices.Contains(known, s) {
		d.add(path, "%q is not one of its values%s", s, suggest(s, known))
	}
}

func (d *decoder) time(v any, into reflect.Value, path string) {
	s, _ := v.(string)
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		d.wrong(v, "a time such as 2026-01-02T15:04:05Z, in quotes", path)
		return
	}
	into.Set(reflect.ValueOf(&t))
}

func (d *decoder) wrong(v any, want, path string) { d.add(path, "%s", providers.Mismatch(want, v)) }

// permissions understands provider.security_group.IpPermissions.
func permissions(list []any) ([]types.IpPermission, []FieldError) {
	var out []types.IpPermission
	d := &decoder{}
	d.value(list, reflect.ValueOf(&out).Elem(), "provider.security_group.IpPermissions")
	return out, d.errs
}
