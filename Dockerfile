# A static gateway in an empty image: no shell, no libc, no embedded etcd (`gateway dev` is for workstations).
FROM golang:1.26.8-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api ./api
COPY cmd ./cmd
COPY internal ./internal
RUN CGO_ENABLED=0 go build -tags nodev -trimpath -ldflags "-s -w" -o /gateway ./cmd/gateway

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /gateway /gateway
USER 65532:65532
# The API, and metrics, health and profiles for operators. Both listen on loopback unless told otherwise, and the API
# refuses any other address without authentication or --insecure-no-auth.
EXPOSE 8379 8380
ENTRYPOINT ["/gateway"]
CMD ["serve"]
