.PHONY: build test race lint conformance

build:
	go build -o gabion ./cmd/gabion

test:
	go test ./...

race:
	go test -race ./...

lint:
	gofmt -l . | (! grep .)
	go vet ./...
	go tool staticcheck ./...

conformance: build
	conformance/torture/run.sh
