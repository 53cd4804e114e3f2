package cluster

// Schema describes cluster files as a JSON Schema (draft 2020-12), by which
// editors complete and check them.
func Schema() map[string]any {
	schema := topFields.schema()
	schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	schema["title"] = "Ray cluster file"
	schema["required"] = []string{"cluster_name", "provider"}
	properties := schema["properties"].(map[string]any)
	properties["provider"] = providerSchema()
	return schema
}

// providerSchema ties the fields of the section to its type.
func providerSchema() map[string]any {
	var each []any
	for _, name := range ProviderTypes() {
		own := providerFields[name]
		if own == nil {
			continue
		}
		properties := map[string]any{}
		for _, known := range []fields{providerCommon, own} {
			for _, key := range known.names() {
				properties[key] = known[key].schema()
			}
		}
		properties["type"] = map[string]any{"const": name}
		each = append(each, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"type": map[string]any{"const": name}}},
			"then": map[string]any{"properties": properties, "additionalProperties": false},
		})
	}
	return map[string]any{
		"type": "object", "required": []string{"type"}, "allOf": each,
		"properties": map[string]any{"type": map[string]any{"enum": ProviderTypes()}},
	}
}

func (f fields) schema() map[string]any {
	properties := map[string]any{}
	for _, name := range f.names() {
		properties[name] = f[name].schema()
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
}

func (f field) schema() map[string]any {
	s := map[string]any{}
	switch f.kind {
	case anyKind:
		return s
	case text:
		s["type"] = "string"
	case integer:
		s["type"], s["minimum"] = "integer", f.min
	case number:
		s["type"], s["minimum"] = "number", f.min
	case boolean:
		s["type"] = "boolean"
	case textList:
		s["type"], s["items"] = "array", map[string]any{"type": "string"}
	case textMap:
		s["type"], s["additionalProperties"] = "object", map[string]any{"type": "string"}
	case amounts:
		s["type"], s["additionalProperties"] = "object", map[string]any{"type": "number", "minimum": 0}
	case object:
		s = f.sub.schema()
	case openObject:
		s["type"] = "object"
	case typesMap:
		s["type"], s["additionalProperties"] = "object", f.sub.schema()
	}
	if f.null {
		s["type"] = []any{s["type"], "null"}
	}
	return s
}
