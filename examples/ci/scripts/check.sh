#!/bin/sh
# check.sh
# Lint and tests, with the race detector. Put your own language's here.
set -eu
here=$(dirname -- "$0")
. "$here/lib.sh"

programs go gofmt
unformatted=$(git ls-files '*.go' | xargs -r gofmt -l)
[ -z "$unformatted" ] || fail "not formatted, run gofmt -w: $(printf '%s' "$unformatted" | tr '\n' ' ')"
go vet ./...
if command -v golangci-lint >/dev/null; then
  golangci-lint run ./...
else
  say "golangci-lint is not there; go vet alone has looked"
fi
go test -race -shuffle=on ./...
