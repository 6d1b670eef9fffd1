package sandbox

import (
	"errors"
	"fmt"
	"slices"
)

// controlledRun is many records as POST /_sandbox/many takes them.
type controlledRun struct {
	Module string   `json:"module"`
	First  string   `json:"first"`
	Count  int      `json:"count"`
	Owners []string `json:"owners"`
}

func (s *Server) controlMany(c controlledRun) (func(), error) {
	if _, err := newRun(c.Module, c.First, c.Count, c.Owners); err != nil {
		return nil, err
	}
	return func() { s.SeedZohoRecords(c.Module, c.First, c.Count, c.Owners...) }, nil
}

func (s *Server) controlModule(m ZohoModule) (func(), error) {
	switch {
	case !zohoModule.MatchString(m.Name):
		return nil, errors.New("a module needs a name")
	case m.ShareType != "" && !slices.Contains(shareTypes, m.ShareType):
		return nil, fmt.Errorf("no share type %q; there are %v", m.ShareType, shareTypes)
	}
	return func() { s.SetZohoModule(m) }, nil
}

func (s *Server) controlGroup(g ZohoGroup) (func(), error) {
	if !zohoID.MatchString(g.ID) {
		return nil, errors.New("a group needs an id of digits")
	}
	return func() { s.AddZohoGroup(g) }, nil
}

func (s *Server) controlVanish(g zohoGone) (func(), error) {
	if !zohoModule.MatchString(g.Module) || len(g.Records) == 0 {
		return nil, errors.New("records that vanish need a module and their ids")
	}
	return func() { s.VanishZoho(g.Module, g.Records...) }, nil
}
