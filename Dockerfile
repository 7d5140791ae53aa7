# syntax=docker/dockerfile:1
# One image for api and worker; the command decides (see docker-compose.yml). Runs as the unprivileged user `node`, writes nowhere.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build

FROM node:24-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json ./
# The database is a service of its own here: the embedded one (an optional download of 60 MB) stays out of the image.
RUN npm ci --omit=dev --omit=optional && npm cache clean --force

FROM node:24-bookworm-slim
ENV NODE_ENV=production HOST=0.0.0.0 PORT=8080
WORKDIR /app
COPY --from=dependencies /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY package.json ./
USER node
EXPOSE 8080
# Whether a container is healthy is asked by docker-compose.yml or Kubernetes at /health/ready: api and worker have different ports.
# SIGTERM reaches node itself, not a shell or npm in front of it.
CMD ["node", "--max-semi-space-size=32", "dist/apps/api/main.js"]
