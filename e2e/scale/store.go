package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"
)

// record is an object as the API server keeps it.
type record struct {
	Key   []byte `json:"key"`   // base64 in JSON, as etcd's gateway wants it
	Value []byte `json:"value"` //
}

// many is how many records are put in one transaction before the API server
// starts. Once it runs each gets its own: those of one transaction have one
// resourceVersion, and a watch that is resumed in their midst would miss the rest.
const many = 200

// writers is how many transactions are under way at once.
const writers = 4

// put puts records into etcd itself: a hundred thousand pods come to be in a
// minute, where the API server would take ten. It tells how far it is.
func (p *plane) put(ctx context.Context, what string, batch int, records <-chan record) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan []record)
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for b := range batches {
				if err := p.transaction(ctx, b); err != nil {
					cancel(err)
				}
			}
		})
	}
	n, next := 0, []record(nil)
	for r := range records {
		if next = append(next, r); len(next) == batch {
			batches <- next
			next = nil
		}
		if n++; n%20_000 == 0 {
			say("%s: %d objects", what, n)
		}
	}
	if len(next) > 0 {
		batches <- next
	}
	close(batches)
	wg.Wait()
	say("%s: %d objects are there", what, n)
	return context.Cause(ctx)
}

func (p *plane) transaction(ctx context.Context, records []record) error {
	type operation struct {
		Put record `json:"requestPut"`
	}
	var all struct {
		Success []operation `json:"success"`
	}
	for _, r := range records {
		all.Success = append(all.Success, operation{r})
	}
	body, err := json.Marshal(all)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.etcdURL+"/v3/kv/txn", bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return fmt.Errorf("put objects into etcd: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		return fmt.Errorf("put objects into etcd: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("put objects into etcd: %s: %.300s", response.Status, said)
	}
	return nil
}
