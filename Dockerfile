# The image: one static binary, and the authorities that it trusts.
#
#   docker build -t wasmproxy .                        from source, for this architecture
#   docker buildx build --platform=linux/arm64 .       for another one: compiled by a cross compiler, never emulated
#   buildah bud --target=packed DIR                    from DIR/wasmproxy, which is built already: pulls nothing

# What both ends of this file are made of.
FROM scratch AS common
ARG VERSION=dev
ARG REVISION=unknown
ARG SOURCE=https://github.com/wasmproxy/wasmproxy
LABEL org.opencontainers.image.title="wasmproxy" \
      org.opencontainers.image.description="A Kubernetes operator that brings WebAssembly modules from OCI registries to devices that have nothing but MQTT" \
      org.opencontainers.image.url="${SOURCE}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.documentation="${SOURCE}#readme" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 65532:65532
ENTRYPOINT ["/wasmproxy"]

FROM common AS packed
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY wasmproxy /wasmproxy

FROM --platform=$BUILDPLATFORM docker.io/library/rust:1.95-slim-bookworm AS build
ARG TARGETARCH
RUN case "$TARGETARCH" in \
      amd64) target=x86_64-unknown-linux-gnu compiler="gcc-x86-64-linux-gnu libc6-dev-amd64-cross" ;; \
      arm64) target=aarch64-unknown-linux-gnu compiler="gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;; \
      *) echo "There is no wasmproxy for '$TARGETARCH'" >&2; exit 1 ;; \
    esac \
 && if [ "$TARGETARCH" = "$(dpkg --print-architecture)" ]; then compiler=; fi \
 && apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev $compiler \
 && rm -rf /var/lib/apt/lists/* \
 && rustup target add "$target"
WORKDIR /wasmproxy
COPY tests/lab/static.sh /usr/local/bin/
COPY tests/lab/order.ld tests/lab/
# First the dependencies, with nothing to depend on them: this layer stays while only our own code changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir src && echo 'fn main() {}' > src/main.rs && touch src/lib.rs \
 && static.sh "$TARGETARCH" && rm -r src
COPY src src
# Below the dependencies, for which it would be another layer with each commit.
ARG REVISION=unknown
# Cargo goes by times: ours have to be later than those of the stand-ins.
RUN export WASMPROXY_REVISION="$REVISION" \
 && find src -type f -exec touch {} + && mv "$(static.sh "$TARGETARCH")" /usr/local/bin/wasmproxy

FROM common
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /usr/local/bin/wasmproxy /wasmproxy
