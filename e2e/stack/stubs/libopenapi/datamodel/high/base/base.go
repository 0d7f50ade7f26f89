// Package base is a stand-in; see ../../../../README.md.
package base

import (
	"github.com/pb33f/libopenapi/orderedmap"
	yaml "go.yaml.in/yaml/v4"
)

// Contact is whom to ask about an API.
type Contact struct{ Name, URL, Email string }

// Info is what an API is.
type Info struct {
	Title, Summary, Description, Version string
	Contact                              *Contact
}

// Tag groups the calls of an API.
type Tag struct{ Name, Summary, Description string }

// Example is an example of a value.
type Example struct {
	Summary, Description string
	Value                *yaml.Node
}

// DynamicValue is one of two types.
type DynamicValue[A, B any] struct {
	N int
	A A
	B B
}

// SchemaProxy is a schema or a reference to one.
type SchemaProxy struct{}

// CreateSchemaProxy makes a schema.
func CreateSchemaProxy(*Schema) *SchemaProxy { return &SchemaProxy{} }

// CreateSchemaProxyRef makes a reference to a schema.
func CreateSchemaProxyRef(string) *SchemaProxy { return &SchemaProxy{} }

// Schema describes a type.
type Schema struct {
	Type                                     []string
	Title, Description, Format               string
	OneOf, AnyOf, AllOf                      []*SchemaProxy
	Items                                    *DynamicValue[*SchemaProxy, bool]
	AdditionalProperties                     *DynamicValue[*SchemaProxy, bool]
	Properties                               *orderedmap.Map[string, *SchemaProxy]
	Required                                 []string
	Enum                                     []*yaml.Node
	Example, Default, Const                  *yaml.Node
	Examples                                 []*yaml.Node
	MinItems, MaxItems, MinLength, MaxLength *int64
	Minimum, Maximum                         *float64
	ContentMediaType                         string
	ContentSchema                            *SchemaProxy
	Nullable                                 *bool
}
