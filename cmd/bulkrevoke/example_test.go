package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/bulkrevoke/bulkrevoke/pkg/crm"
	"github.com/bulkrevoke/bulkrevoke/pkg/crm/transport"
)

// shelfRules are what a shelf can be asked: it lends books and takes them back.
type shelfRules struct{}

func (shelfRules) Check(op crm.Operation) (crm.Operation, error) {
	if op.Action == crm.RevokeAll {
		return op, &crm.FieldError{Column: "action", Reason: "a shelf knows revoke and share"}
	}
	op.Access = crm.AccessUnset
	return op, nil
}

func (shelfRules) Key(op crm.Operation) crm.Target                     { return op.Target().Whole() }
func (shelfRules) Bundle(crm.Operation) (string, int)                  { return "", 0 }
func (shelfRules) Cost(_ crm.Operation, n int64, confirm bool) float64 { return float64(n) }
func (shelfRules) Shows(crm.Operation) bool                            { return true }

// shelf is the provider of a CRM of its own, which has no network.
type shelf struct {
	shelfRules
	mu   sync.Mutex // guards lent
	lent map[crm.Target]bool
}

func (s *shelf) Do(ctx context.Context, call crm.Call, j crm.Journal) []crm.Outcome {
	outcomes, _ := s.Confirm(ctx, call.Items)
	for i, item := range call.Items {
		switch {
		case outcomes[i].Status == crm.Done:
			outcomes[i].Status = crm.Unchanged
		case ctx.Err() != nil || j.Intend(ctx, crm.State{Looked: true}) != nil:
			outcomes[i].Status = crm.Pending
		default:
			s.mu.Lock()
			s.lent[item.Op.Target()] = item.Op.Action == crm.Share
			s.mu.Unlock()
			outcomes[i] = crm.Outcome{Status: crm.Done, Attempts: 1}
		}
	}
	return outcomes
}

func (s *shelf) Confirm(_ context.Context, items []crm.Item) ([]crm.Outcome, crm.State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	outcomes := make([]crm.Outcome, len(items))
	for i, item := range items {
		outcomes[i].Status = crm.Accepted
		if s.lent[item.Op.Target()] == (item.Op.Action == crm.Share) {
			outcomes[i].Status = crm.Done
		}
	}
	return outcomes, crm.State{Looked: true}
}

func (s *shelf) Users(context.Context, crm.Part) iter.Seq2[crm.User, error] {
	return func(yield func(crm.User, error) bool) { yield(crm.User{}, crm.ErrNoUserList) }
}

func (s *shelf) Identify(context.Context) (crm.Identity, error) {
	return crm.Identity{Org: "library"}, nil
}

func (s *shelf) Clock(context.Context) (time.Time, error) { return time.Now(), nil }

// shelfKeys are the keys of a shelf's account.
type shelfKeys struct {
	Room string `yaml:"room"`
	Card string `yaml:"card"`
}

func (k *shelfKeys) check() error {
	if k.Room == "" {
		return errors.New("room: is missing")
	}
	return nil
}

func (k *shelfKeys) secrets() []string { return []string{k.Card} }
func (k *shelfKeys) atOnce() int       { return 1 }

func (k *shelfKeys) open(_ string, secrets secretSource) (endpoint, error) {
	card, err := secrets.read("card", k.Card)
	return endpoint{
		host: k.Room, state: transport.StoreName(k.Room, card), rules: shelfRules{},
		connect: func(transport.Config, *transport.Store) (crm.Provider, error) {
			return &shelf{lent: map[crm.Target]bool{{Object: "book", Record: "b1", User: "ann"}: true}}, nil
		},
	}, err
}

// A CRM is a package, here a few lines, and an entry in the table: with it, the command
// reads its configuration and runs its sheets.
func Example_anotherCRM() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for name, text := range map[string]string{
		"bulkrevoke.yaml": "accounts:\n  library:\n    crm: shelf\n    room: reading room\n    card: env:CARD\n",
		"books.csv":       "action,object,record_id,user\nrevoke,book,b1,ann\nrevoke,book,b2,ann\nshare,book,b1,bob\nrevoke_all,book,b1,\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	var stderr bytes.Buffer
	sheet := filepath.Join(dir, "books.csv")
	app := newApp([]string{"run", "--config", filepath.Join(dir, "bulkrevoke.yaml"), "--skip-invalid", sheet}, strings.NewReader(""), &stderr, &stderr)
	app.lookup = func(name string) (string, bool) {
		return map[string]string{"CARD": "card-0123456789", stateVariable: filepath.Join(dir, "state")}[name], true
	}
	app.crms = append(app.crms, kind{
		name: "shelf", title: "Shelf", limit: "100/1s",
		keys:        func() keys { return new(shelfKeys) },
		environment: func(func(string) string) keys { return nil },
		objects:     objects{noun: "object", words: []string{"book"}, read: func(word string) (string, bool) { return word, word == "book" }},
		shown:       "books",
	})
	fmt.Println("exit code", app.execute(context.Background()))
	results, err := os.ReadFile(filepath.Join(dir, "books.results.csv"))
	if err != nil {
		log.Fatal(err, stderr.String())
	}
	for line := range strings.Lines(string(results)) {
		fmt.Println(strings.Join(strings.Split(line, ",")[:6], " "))
	}
	// Output:
	// exit code 1
	// action object record_id user line result
	// revoke book b1 ann 2 done
	// revoke book b2 ann 3 unchanged
	// share book b1 bob 4 done
	// revoke_all book b1  5 invalid
}
