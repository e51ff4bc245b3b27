// Evaluates CEL expressions, as Google does with the conditions and mappings of a workload identity provider.
//
// Each line of stdin is {"expression": …, "variables": {"assertion": {…}}}; each line of stdout is {"value": …} or {"error": …}.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"

	"github.com/google/cel-go/cel"
)

type question struct {
	Expression string         `json:"expression"`
	Variables  map[string]any `json:"variables"`
}

type answer struct {
	Value any    `json:"value"`
	Error string `json:"error,omitempty"`
}

func evaluate(environment *cel.Env, asked question) (any, error) {
	checked, issues := environment.Compile(asked.Expression)
	if issues.Err() != nil {
		return nil, issues.Err()
	}
	program, err := environment.Program(checked)
	if err != nil {
		return nil, err
	}
	value, _, err := program.Eval(asked.Variables)
	if err != nil {
		return nil, err
	}
	return value.Value(), nil
}

func run() error {
	// `assertion` has a token's claims, `resource` is what a condition of IAM is about.
	claims := cel.MapType(cel.StringType, cel.DynType)
	environment, err := cel.NewEnv(cel.Variable("assertion", claims), cel.Variable("resource", claims))
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	answers := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var asked question
		if err := json.Unmarshal(lines.Bytes(), &asked); err != nil {
			return err
		}
		var given answer
		if value, err := evaluate(environment, asked); err != nil {
			given.Error = err.Error()
		} else {
			given.Value = value
		}
		if err := answers.Encode(given); err != nil {
			return err
		}
	}
	return lines.Err()
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
