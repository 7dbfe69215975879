package balancer

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestCodesAreDocumented: each code of a refusal is in the table of docs/config.md
// and in the API's description.
func TestCodesAreDocumented(t *testing.T) {
	docs, err := os.ReadFile("../docs/config.md")
	if err != nil {
		t.Fatal(err)
	}
	described, err := os.ReadFile("../api/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	_, schema, _ := strings.Cut(string(described), "\n    PoolProblem:\n")
	schema, _, _ = strings.Cut(schema, "\n    ViewerProblem:\n")
	found := map[string]bool{rateLimited: true}
	for _, file := range []string{"examine.go", "refusal.go", "serve.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range regexp.MustCompile(`&refusal\{(?:status: )?[\w.]+, (?:code: )?"(\w+)"`).FindAllStringSubmatch(string(source), -1) {
			found[code[1]] = true
		}
	}
	if len(found) < 9 {
		t.Fatalf("only %v: the refusals are written in another way", found)
	}
	for code := range found {
		if !strings.Contains(string(docs), "\n| `"+code+"` | ") {
			t.Errorf("%s is not in the table of docs/config.md", code)
		}
		if !strings.Contains(schema, "\n            - "+code+"\n") {
			t.Errorf("%s is not a code of PoolProblem in api/openapi.yaml", code)
		}
	}
}
