# The controller and the command as static programs in an otherwise empty image.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
ARG TARGETOS
ARG TARGETARCH
WORKDIR /src
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod \
    go mod download
COPY cmd ./cmd
COPY pkg ./pkg
COPY internal/operator ./internal/operator
COPY internal/signature ./internal/signature
COPY deploy ./deploy
ARG VERSION=unknown
ENV GOCACHE=/cache CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/cache \
    GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /serin ./cmd/serin && \
    GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /kubectl-canary ./cmd/kubectl-canary

FROM scratch
# For an API server or a Prometheus behind a public certificate.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /serin /serin
# For the hook by which the chart opts all out before it is uninstalled.
COPY --from=build /kubectl-canary /kubectl-canary
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/serin"]
