# The server and the command line on Debian 12, with the demo model as default.
#   docker build -t precis --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --rm -p 127.0.0.1:50051:50051 precis
#   docker run --rm -p 127.0.0.1:50051:50051 -v /models/mine:/model:ro precis --model /model
# It needs no capability and writes nothing: --read-only --cap-drop=ALL --security-opt=no-new-privileges.
# deploy/test-image builds it and checks all that it promises.
ARG BASE=debian:bookworm-slim

# hadolint ignore=DL3006
FROM ${BASE} AS build
WORKDIR /src
# The packages change more seldom than the sources: a layer of their own.
COPY scripts/setup scripts/setup
RUN scripts/setup build
COPY . .
# The list is for the SBOM: of these, code is compiled in, and the image has no package of theirs.
RUN cmake --preset release -DPRECIS_BUILD_TESTS=OFF \
 && cmake --build --preset release -j "$(nproc)" --target precis-server precis \
 && cmake --install build/release --prefix /out --strip \
 && install -D deploy/sbom /out/lib/precis/sbom \
 && dpkg-query -W libcli11-dev libhwy-dev nlohmann-json3-dev > /out/lib/precis/compiled_in

# hadolint ignore=DL3006
FROM ${BASE}
# No versions: Debian 12 has one of each, and its fixes are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    libabsl20220623 libdnnl2 libfmt9 libgomp1 libgrpc++1.51 libhwy1 libprometheus-cpp-core1.0 \
    libprometheus-cpp-pull1.0 libprotobuf32 libspdlog1.10 libssl3 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 precis \
 && useradd --system --no-create-home --uid 10001 --gid 10001 precis
COPY --from=build /out /usr/local
# The version is that of CMakeLists.txt, which `precis-server --version` prints.
ARG VERSION=0.1.0
ARG REVISION=unknown
RUN /usr/local/lib/precis/sbom "${VERSION}" /usr/local/lib/precis/compiled_in \
    > /usr/local/share/precis/sbom.cdx.json
LABEL org.opencontainers.image.title="precis" \
      org.opencontainers.image.description="Inference server for T5-family summarizers" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Variables and not arguments, so that `docker run precis --model /model` changes the model and nothing
# else, and the health check asks where the server listens.
#
# Beyond loopback and in plain text: inside the container loopback is out of everyone's reach, and who
# gets in is decided by what is published. So publish to the host's loopback (-p 127.0.0.1:50051:50051)
# or into a network of containers that you trust, and do not use --network=host.
ENV PRECIS_MODEL=/usr/local/share/precis/models/demo \
    PRECIS_LISTEN=0.0.0.0:50051 \
    PRECIS_HEALTH_LISTEN=0.0.0.0:50052 \
    PRECIS_METRICS_LISTEN=0.0.0.0:9464 \
    PRECIS_INSECURE=on
EXPOSE 50051 50052 9464
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["precis-server", "--probe"]
ENTRYPOINT ["precis-server"]
