# The gateway with its built-in model and the CPU build of llama.cpp, for amd64 and arm64.
#
#   docker build -t torchgate .
#   docker run --rm -p 127.0.0.1:8080:8080 torchgate
#
# The base must have glibc 2.34 or newer, as Debian 12 has: llama.cpp comes as a binary, and there is none for Alpine.
ARG NODE_IMAGE=node:26-bookworm-slim

FROM ${NODE_IMAGE} AS dependencies
WORKDIR /app
COPY package.json package-lock.json deploy/binding.ts ./
# Of the builds of llama.cpp only the one for the CPU of this image.
RUN node binding.ts && npm ci --omit=dev --omit=optional --no-audit --no-fund

FROM ${NODE_IMAGE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="torchgate" \
      org.opencontainers.image.description="A self-hosted, OpenAI-compatible inference gateway: local models and cloud providers behind one policy." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN apt-get update \
 && apt-get install -y --no-install-recommends tini \
 && rm -rf /var/lib/apt/lists/* \
 && groupadd --gid 10001 torchgate \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/torchgate --shell /usr/sbin/nologin torchgate \
 && install -d -m 0700 -o 10001 -g 10001 /var/lib/torchgate

COPY --from=dependencies /app/node_modules /app/node_modules
COPY package.json LICENSE /app/
COPY models/pilot/pilot.Q8_0.gguf /app/models/pilot/
COPY deploy/healthcheck.ts /app/deploy/
COPY src /app/src

# Published ports reach only what listens beyond loopback. The admin listener stays on loopback until ADMIN_HOST says otherwise.
ENV NODE_ENV=production HOST=0.0.0.0
USER 10001:10001
# Without a configuration file data goes to ./data, so it lands in the volume. Nothing else is written but sockets in /tmp.
WORKDIR /var/lib/torchgate
VOLUME ["/var/lib/torchgate"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["node", "/app/deploy/healthcheck.ts"]
ENTRYPOINT ["/usr/bin/tini", "--", "node", "/app/src/main.ts"]
CMD ["start"]
