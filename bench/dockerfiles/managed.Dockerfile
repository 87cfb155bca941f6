# What a careful person writes for a project with a lock: the manager's files first, the app's own last.
ARG BASE
FROM $BASE
ARG INSTALL
WORKDIR /workspace
COPY manifests/ ./
RUN sh -ec "$INSTALL"
COPY app/ ./
ENV PATH=/workspace/.venv/bin:/usr/bin:/bin
