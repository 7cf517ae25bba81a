# The server and the command line on Debian 12, with the demo model as default.
#   docker build -t precis --build-arg REVISION="$(git rev-parse HEAD)" .
#   docker run --rm -p 127.0.0.1:50051:50051 precis
#   docker run --rm -p 127.0.0.1:50051:50051 -v /models/mine:/model:ro precis --model /model
# It needs no capability and writes nothing: --read-only --cap-drop=ALL --security-opt=no-new-privileges.
# The target `cuda` has the device cuda, too; a GPU's driver comes from the host (docs/gpu.md):
#   docker build --target cuda -t precis:cuda .
# deploy/test-image builds them and checks all that they promise.
ARG BASE=debian:bookworm-slim
# The version is that of CMakeLists.txt, which `precis-server --version` prints.
ARG VERSION=0.1.0

# hadolint ignore=DL3006
FROM ${BASE} AS build
WORKDIR /src
# The packages change more seldom than the sources: a layer of their own.
COPY scripts/setup scripts/setup
RUN scripts/setup build
COPY . .
RUN deploy/compile /out

# hadolint ignore=DL3006
FROM ${BASE} AS toolkit
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates python3-pip \
 && rm -rf /var/lib/apt/lists/*
COPY deploy/cuda_toolkit /
RUN /cuda_toolkit /

# On top of what is compiled already: only what knows of CUDA is compiled again.
FROM build AS build-cuda
COPY --from=toolkit /usr/local/cuda /usr/local/cuda
RUN deploy/compile /out -DPRECIS_CUDA_BACKEND=ON

# hadolint ignore=DL3006
FROM ${BASE} AS runtime
# No versions: Debian 12 has one of each, and its fixes are wanted.
# hadolint ignore=DL3008
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
    libabsl20220623 libdnnl2 libfmt9 libgomp1 libgrpc++1.51 libhwy1 libprometheus-cpp-core1.0 \
    libprotobuf32 libre2-9 libspdlog1.10 libssl3 zlib1g \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log \
 && groupadd --system --gid 10001 precis \
 && useradd --system --no-create-home --uid 10001 --gid 10001 precis
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
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["precis-server", "--probe"]
ENTRYPOINT ["precis-server"]
LABEL org.opencontainers.image.title="precis" \
      org.opencontainers.image.description="Inference server for encoder-decoder summarizers"

FROM runtime AS cuda
# What NVIDIA's container runtime mounts: all devices, but for --gpus; the driver's libraries, nvidia-smi.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
# By far the largest layer: before the programs, so that it stays where they change.
COPY --from=toolkit /cublas /usr/local
COPY --from=build-cuda /out /usr/local
ARG VERSION
ARG REVISION=unknown
RUN ldconfig \
 && /usr/local/lib/precis/sbom "${VERSION}" /usr/local/lib/precis/parts/* \
    > /usr/local/share/precis/sbom.cdx.json
LABEL org.opencontainers.image.licenses="Apache-2.0 AND LicenseRef-NVIDIA-Proprietary" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001

# The last is the default.
FROM runtime
COPY --from=build /out /usr/local
ARG VERSION
ARG REVISION=unknown
RUN /usr/local/lib/precis/sbom "${VERSION}" /usr/local/lib/precis/parts/* \
    > /usr/local/share/precis/sbom.cdx.json
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
USER 10001:10001
