# warren's image. BASE is any Debian-like image with Node.js (>= 20.19) and npm; the default needs a registry:
#   docker build -t warren .
#   docker build -t warren --build-arg BASE=my-registry/node .
ARG BASE=node:24-slim

FROM ${BASE} AS build
WORKDIR /opt/warren
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY scripts/build.mjs scripts/
COPY proto proto
COPY src src
COPY ui ui
RUN npm run build && npm prune --omit=dev --no-audit --no-fund

FROM ${BASE}
# The agent configures the container with `ip` and `nft`, and `warren check` pings.
RUN { command -v ip && command -v nft && command -v ping; } > /dev/null \
  || { apt-get update && apt-get install -y --no-install-recommends iproute2 iputils-ping nftables \
  && rm -rf /var/lib/apt/lists/*; }
WORKDIR /opt/warren
COPY --from=build /opt/warren/package.json ./
COPY --from=build /opt/warren/node_modules node_modules
COPY --from=build /opt/warren/dist dist
COPY deploy/kubernetes deploy/kubernetes
RUN ln -s /opt/warren/dist/bin/warren.js /usr/local/bin/warren \
  && ln -s /opt/warren/dist/bin/warren-wireguard.js /usr/local/bin/warren-wireguard
ENTRYPOINT ["warren"]
CMD ["agent", "-c", "/etc/warren/warren.yaml"]
