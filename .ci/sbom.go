// Command sbom writes the software bill of materials of a Go binary to standard
// output, as CycloneDX 1.6 JSON. Everything in it comes from the binary, from the
// build information that the Go linker puts there, so that two equal binaries have
// equal bills.
//
//	go run .ci/sbom.go BINARY [VERSION]
//
// VERSION is the program's version where the linker was told one.
package main

import (
	"cmp"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"runtime/debug"
	"strings"
)

type bill struct {
	Format      string      `json:"bomFormat"`
	SpecVersion string      `json:"specVersion"`
	Version     int         `json:"version"`
	Metadata    metadata    `json:"metadata"`
	Components  []component `json:"components"`
}

type metadata struct {
	Timestamp string    `json:"timestamp,omitempty"` // of the commit
	Component component `json:"component"`
}

type component struct {
	Type       string     `json:"type"`
	Ref        string     `json:"bom-ref"`
	Name       string     `json:"name"`
	Version    string     `json:"version,omitempty"`
	Hashes     []hash     `json:"hashes,omitempty"`
	PURL       string     `json:"purl"`
	Properties []property `json:"properties,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

type property struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func main() {
	if len(os.Args) != 2 && len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: sbom BINARY [VERSION]")
		os.Exit(2)
	}
	version := ""
	if len(os.Args) == 3 {
		version = os.Args[2]
	}
	if err := write(os.Stdout, os.Args[1], version); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

// write writes the bill of the binary in the named file.
func write(w io.Writer, name, version string) error {
	info, err := buildinfo.ReadFile(name)
	if err != nil {
		return fmt.Errorf("read build information: %w", err)
	}
	b := bill{Format: "CycloneDX", SpecVersion: "1.6", Version: 1, Components: []component{}}
	if b.Metadata, err = describe(info, name, version); err != nil {
		return err
	}
	for _, dep := range info.Deps {
		c, err := library(dep)
		if err != nil {
			return err
		}
		b.Components = append(b.Components, c)
	}
	// The standard library is part of every Go binary, and of most advisories.
	std := module("library", "std", strings.TrimPrefix(info.GoVersion, "go"))
	b.Components = append(b.Components, std)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(b)
}

// describe returns what the bill says about the program itself.
func describe(info *buildinfo.BuildInfo, name, version string) (metadata, error) {
	file, err := os.Open(name)
	if err != nil {
		return metadata{}, err
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return metadata{}, err
	}
	m := metadata{Component: module("application", info.Main.Path, cmp.Or(version, info.Main.Version))}
	c := &m.Component
	c.Name = path.Base(info.Path)
	c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum.Sum(nil))}}
	c.Properties = []property{{"go:version", info.GoVersion}}
	for _, s := range info.Settings {
		switch s.Key {
		case "CGO_ENABLED", "GOOS", "GOARCH", "GOAMD64", "GOARM64", "-trimpath", "vcs.revision", "vcs.modified":
			c.Properties = append(c.Properties, property{"go:build:" + s.Key, s.Value})
		case "vcs.time":
			m.Timestamp = s.Value
		}
	}
	return m, nil
}

// library returns the component that a module is, or what stands in for it.
func library(dep *debug.Module) (component, error) {
	if dep.Replace != nil {
		dep = dep.Replace
	}
	c := module("library", dep.Path, dep.Version)
	if dep.Sum == "" {
		return c, nil
	}
	// The sum of go.sum is SHA-256 over the list of the module's files.
	sum, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(dep.Sum, "h1:"))
	if err != nil {
		return c, fmt.Errorf("sum of %s: %w", dep.Path, err)
	}
	c.Hashes = []hash{{"SHA-256", hex.EncodeToString(sum)}}
	return c, nil
}

// module returns a component with the package URL of a Go module, which is in
// small letters whatever the module's path.
func module(kind, name, version string) component {
	purl := "pkg:golang/" + strings.ToLower(name)
	if version != "" {
		purl += "@" + url.QueryEscape(version)
	}
	return component{Type: kind, Ref: purl, Name: name, Version: version, PURL: purl}
}
