# bulkrevoke as an image: one static binary and the CA certificates, without a
# shell, not as root.
#
#   docker build -t bulkrevoke .
#   docker run --rm --user "$(id -u)" -v "$PWD:/data" bulkrevoke run /data/offboarding.csv
#
# The image works under any user id. Result and ledger are written beside the
# sheet and belong to that user. /data is the working folder: a bulkrevoke.yaml in
# it is found, and relative names mean files in it. Accounts can come from the
# environment too (-e LEADSQUARED_HOST -e LEADSQUARED_ACCESS_KEY -e
# LEADSQUARED_SECRET_KEY), and -e USER tells the ledger who it was.
#
# Locks, last-call stamps and access tokens lie in /state. Keep them from one
# container to the next, or two of them do not know of each other's calls:
#   -v bulkrevoke-state:/state
#
# With a read-only root and a read-only folder of sheets, results go elsewhere:
#   docker run --rm --read-only --user "$(id -u)" -v bulkrevoke-state:/state \
#     -v "$PWD:/data:ro" -v "$PWD/done:/done" \
#     bulkrevoke run /data/offboarding.csv -o /done/offboarding.results.csv
#
# Stopping loses nothing, but open calls may take 25 s to end: docker stop -t 40.
#
# Without an engine, .ci/container carries out these instructions and tries the image.

FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
# The repository comes along whole: commit and date in --version are read from it.
COPY . .
ARG VERSION=""
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=true \
      -ldflags "-s -w -X main.version=${VERSION}" \
      -o /image/bulkrevoke ./cmd/bulkrevoke
# Whoever runs the image writes here, under whatever id.
RUN mkdir -p /image/data /image/state /image/tmp /image/etc/ssl/certs \
 && chmod 1777 /image/state /image/tmp \
 && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
COPY --from=build /image/ /
ENV BULKREVOKE_STATE=/state TMPDIR=/tmp
# As volumes they can be written to under a read-only root.
VOLUME ["/state", "/tmp"]
WORKDIR /data
USER 65532:65532
ENTRYPOINT ["/bulkrevoke"]
