// Package v3 is a stand-in; see ../../../../README.md.
package v3

import (
	"github.com/pb33f/libopenapi/datamodel/high/base"
	"github.com/pb33f/libopenapi/orderedmap"
)

// Document is the description of an API.
type Document struct {
	Version    string
	Info       *base.Info
	Servers    []*Server
	Tags       []*base.Tag
	Paths      *Paths
	Components *Components
}

// Render returns an empty description, YAML.
func (*Document) Render() ([]byte, error) { return []byte("{}\n"), nil }

// Server is where an API is.
type Server struct{ URL, Description string }

// Paths are the calls by their paths.
type Paths struct {
	PathItems *orderedmap.Map[string, *PathItem]
}

// PathItem are the calls of one path.
type PathItem struct {
	Get, Post, Put, Delete, Options, Head, Patch *Operation
}

// Operation is one call.
type Operation struct {
	OperationId, Summary, Description string //nolint:staticcheck // the name is given
	Tags                              []string
	Parameters                        []*Parameter
	RequestBody                       *RequestBody
	Responses                         *Responses
	Deprecated                        *bool
}

// Parameter is a parameter of a call.
type Parameter struct {
	Name, In, Description string
	Required, Explode     *bool
	Schema                *base.SchemaProxy
	Examples              *orderedmap.Map[string, *base.Example]
}

// RequestBody is the body of a call.
type RequestBody struct {
	Description string
	Required    *bool
	Content     *orderedmap.Map[string, *MediaType]
}

// Responses are the answers by their status.
type Responses struct {
	Codes   *orderedmap.Map[string, *Response]
	Default *Response
}

// Response is an answer.
type Response struct {
	Description string
	Content     *orderedmap.Map[string, *MediaType]
}

// MediaType is a body in one format.
type MediaType struct {
	Schema, ItemSchema *base.SchemaProxy
	Examples           *orderedmap.Map[string, *base.Example]
}

// Components are the schemas by their names.
type Components struct {
	Schemas *orderedmap.Map[string, *base.SchemaProxy]
}
