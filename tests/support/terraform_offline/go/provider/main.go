// A Terraform provider that knows a schema and nothing else. The provider serves the schema.json beside
// it, refuses values that the schema doesn't allow, plans new resources, and never calls a cloud.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/terraform-plugin-go/tfprotov5"
	"github.com/hashicorp/terraform-plugin-go/tfprotov5/tf5server"
	"github.com/hashicorp/terraform-plugin-go/tftypes"
)

// attribute, nesting and block are as in `terraform providers schema -json`, plus Values: the possible
// values of a string, where they are known, which Terraform's own format doesn't have.
type attribute struct {
	Type     json.RawMessage `json:"type"`
	Required bool            `json:"required"`
	Optional bool            `json:"optional"`
	Computed bool            `json:"computed"`
	Values   []string        `json:"values"`
}

type nesting struct {
	Mode  string `json:"nesting_mode"`
	Block block  `json:"block"`
	Min   int64  `json:"min_items"`
	Max   int64  `json:"max_items"`
}

type block struct {
	Attributes map[string]attribute `json:"attributes"`
	Blocks     map[string]nesting   `json:"block_types"`
}

type document struct {
	Address   string           `json:"address"`
	Provider  block            `json:"provider"`
	Resources map[string]block `json:"resources"`
}

var modes = map[string]tfprotov5.SchemaNestedBlockNestingMode{
	"list":   tfprotov5.SchemaNestedBlockNestingModeList,
	"set":    tfprotov5.SchemaNestedBlockNestingModeSet,
	"single": tfprotov5.SchemaNestedBlockNestingModeSingle,
	"map":    tfprotov5.SchemaNestedBlockNestingModeMap,
}

func (b block) schema() (*tfprotov5.SchemaBlock, error) {
	made := &tfprotov5.SchemaBlock{}
	for name, a := range b.Attributes {
		kind, err := tftypes.ParseJSONType(a.Type) //nolint:staticcheck // the format of the schema file
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		made.Attributes = append(made.Attributes, &tfprotov5.SchemaAttribute{
			Name: name, Type: kind, Required: a.Required, Optional: a.Optional, Computed: a.Computed,
		})
	}
	for name, n := range b.Blocks {
		inner, err := n.Block.schema()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		made.BlockTypes = append(made.BlockTypes, &tfprotov5.SchemaNestedBlock{
			TypeName: name, Nesting: modes[n.Mode], MinItems: n.Min, MaxItems: n.Max, Block: inner,
		})
	}
	return made, nil
}

// at returns the attribute that path names, and false for a block or a part of an attribute.
func (b block) at(path *tftypes.AttributePath) (attribute, bool) {
	steps := path.Steps()
	for i, step := range steps {
		name, ok := step.(tftypes.AttributeName)
		if !ok {
			continue
		}
		if inner, ok := b.Blocks[string(name)]; ok {
			b = inner.Block
			continue
		}
		found, ok := b.Attributes[string(name)]
		return found, ok && i == len(steps)-1
	}
	return attribute{}, false
}

// server answers the requests of a plan of new resources. The other methods are the embedded
// interface's, which is nil: Terraform calls them for existing resources only, and there are none.
type server struct {
	tfprotov5.ProviderServer
	schema    *tfprotov5.GetProviderSchemaResponse
	resources map[string]block
}

func (s *server) GetMetadata(context.Context, *tfprotov5.GetMetadataRequest) (*tfprotov5.GetMetadataResponse, error) {
	answer := &tfprotov5.GetMetadataResponse{ServerCapabilities: s.schema.ServerCapabilities}
	for name := range s.resources {
		answer.Resources = append(answer.Resources, tfprotov5.ResourceMetadata{TypeName: name})
	}
	return answer, nil
}

func (s *server) GetProviderSchema(context.Context, *tfprotov5.GetProviderSchemaRequest) (*tfprotov5.GetProviderSchemaResponse, error) {
	return s.schema, nil
}

func (s *server) GetResourceIdentitySchemas(context.Context, *tfprotov5.GetResourceIdentitySchemasRequest) (*tfprotov5.GetResourceIdentitySchemasResponse, error) {
	return &tfprotov5.GetResourceIdentitySchemasResponse{}, nil
}

func (s *server) PrepareProviderConfig(_ context.Context, request *tfprotov5.PrepareProviderConfigRequest) (*tfprotov5.PrepareProviderConfigResponse, error) {
	return &tfprotov5.PrepareProviderConfigResponse{PreparedConfig: request.Config}, nil
}

func (s *server) ConfigureProvider(context.Context, *tfprotov5.ConfigureProviderRequest) (*tfprotov5.ConfigureProviderResponse, error) {
	return &tfprotov5.ConfigureProviderResponse{}, nil
}

func (s *server) StopProvider(context.Context, *tfprotov5.StopProviderRequest) (*tfprotov5.StopProviderResponse, error) {
	return &tfprotov5.StopProviderResponse{}, nil
}

func (s *server) ValidateResourceTypeConfig(_ context.Context, request *tfprotov5.ValidateResourceTypeConfigRequest) (*tfprotov5.ValidateResourceTypeConfigResponse, error) {
	resource := s.resources[request.TypeName]
	config, err := request.Config.Unmarshal(s.schema.ResourceSchemas[request.TypeName].ValueType())
	if err != nil {
		return nil, err
	}
	answer := &tfprotov5.ValidateResourceTypeConfigResponse{}
	err = tftypes.Walk(config, func(path *tftypes.AttributePath, value tftypes.Value) (bool, error) {
		known, ok := resource.at(path)
		if ok {
			answer.Diagnostics = append(answer.Diagnostics, refusals(known, path, value)...)
		}
		return !ok, nil
	})
	return answer, err
}

func refusals(known attribute, path *tftypes.AttributePath, value tftypes.Value) []*tfprotov5.Diagnostic {
	if value.IsNull() {
		return nil
	}
	if known.Computed && !known.Optional {
		return refuse(path, "Value for unconfigurable attribute", "The provider decides on this attribute: it cannot be set.")
	}
	var text string
	if len(known.Values) == 0 || !value.IsKnown() || value.As(&text) != nil || slices.Contains(known.Values, text) {
		return nil
	}
	return refuse(path, "Not one of the possible values", fmt.Sprintf("%q is not one of: %s.", text, strings.Join(known.Values, ", ")))
}

func refuse(path *tftypes.AttributePath, summary, detail string) []*tfprotov5.Diagnostic {
	return []*tfprotov5.Diagnostic{{
		Severity: tfprotov5.DiagnosticSeverityError, Attribute: path, Summary: summary,
		Detail: detail + " (Schema check: the provider itself did not run.)",
	}}
}

// PlanResourceChange plans creation and destruction; computed attributes without a value are unknown.
func (s *server) PlanResourceChange(_ context.Context, request *tfprotov5.PlanResourceChangeRequest) (*tfprotov5.PlanResourceChangeResponse, error) {
	resource, kind := s.resources[request.TypeName], s.schema.ResourceSchemas[request.TypeName].ValueType()
	proposed, err := request.ProposedNewState.Unmarshal(kind)
	if err != nil || proposed.IsNull() {
		return &tfprotov5.PlanResourceChangeResponse{PlannedState: request.ProposedNewState}, err
	}
	planned, err := tftypes.Transform(proposed, func(path *tftypes.AttributePath, value tftypes.Value) (tftypes.Value, error) {
		known, ok := resource.at(path)
		if ok && known.Computed && value.IsKnown() && value.IsNull() {
			return tftypes.NewValue(value.Type(), tftypes.UnknownValue), nil
		}
		return value, nil
	})
	if err != nil {
		return nil, err
	}
	state, err := tfprotov5.NewDynamicValue(kind, planned)
	return &tfprotov5.PlanResourceChangeResponse{PlannedState: &state, UnsafeToUseLegacyTypeSystem: true}, err
}

func (s *server) ApplyResourceChange(_ context.Context, request *tfprotov5.ApplyResourceChangeRequest) (*tfprotov5.ApplyResourceChangeResponse, error) {
	return &tfprotov5.ApplyResourceChangeResponse{Diagnostics: refuse(
		tftypes.NewAttributePath(), "Nothing to apply to", "This provider knows a schema and no cloud: use the real one.",
	)}, nil
}

func load() (*server, string, error) {
	executable, err := os.Executable()
	if err != nil {
		return nil, "", err
	}
	executable, err = filepath.EvalSymlinks(executable)
	if err != nil {
		return nil, "", err
	}
	content, err := os.ReadFile(filepath.Join(filepath.Dir(executable), "schema.json"))
	if err != nil {
		return nil, "", err
	}
	var known document
	if err := json.Unmarshal(content, &known); err != nil {
		return nil, "", err
	}
	provider, err := known.Provider.schema()
	if err != nil {
		return nil, "", err
	}
	resources := map[string]*tfprotov5.Schema{}
	for name, resource := range known.Resources {
		made, err := resource.schema()
		if err != nil {
			return nil, "", fmt.Errorf("%s: %w", name, err)
		}
		resources[name] = &tfprotov5.Schema{Block: made}
	}
	return &server{resources: known.Resources, schema: &tfprotov5.GetProviderSchemaResponse{
		ServerCapabilities: &tfprotov5.ServerCapabilities{GetProviderSchemaOptional: true},
		Provider:           &tfprotov5.Schema{Block: provider},
		ResourceSchemas:    resources,
	}}, known.Address, nil
}

func main() {
	served, address, err := load()
	if err == nil {
		err = tf5server.Serve(address, func() tfprotov5.ProviderServer { return served })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
