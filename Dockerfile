# reprorun's own image: the command with the client side of Docker and git, for CI.
#
#   scripts/image
#   docker run --rm -v /var/run/docker.sock:/var/run/docker.sock \
#       -v "$PWD:$PWD" -w "$PWD" reprorun exec train.py
#
# The checkout is mounted at its own path: the engine, which is outside, resolves it there.
# For records that belong to you and not to root, add
#
#       --user "$(id -u):$(id -g)" --group-add "$(stat -c %g /var/run/docker.sock)"
#
# BASE has python3 with venv, and git unless the build may use the network.
ARG BASE=python:3.12-slim

FROM ${BASE} AS install
COPY build/wheelhouse /wheelhouse
RUN python3 -m venv /opt/reprorun \
    && /opt/reprorun/bin/python -m pip install --no-index --find-links /wheelhouse \
        --no-cache-dir --disable-pip-version-check reprorun

FROM ${BASE}
LABEL org.opencontainers.image.title="reprorun" \
      org.opencontainers.image.description="Run an experiment in a container and prove that it comes out the same" \
      org.opencontainers.image.licenses="MIT"
RUN command -v git >/dev/null \
    || (apt-get update \
        && apt-get install --yes --no-install-recommends git ca-certificates \
        && rm -rf /var/lib/apt/lists/*)
# git refuses a repository of another user, and the mounted checkout belongs to whoever runs the
# container. The check protects a machine that several people share; in here there is one user,
# and the only repository is the one that this user mounted.
RUN git config --system --add safe.directory '*' \
    && mkdir -p /var/cache/reprorun && chmod 1777 /var/cache/reprorun
COPY --from=install /opt/reprorun /opt/reprorun
# The cache can be mounted, and be written by any --user.
ENV PATH=/opt/reprorun/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    XDG_CACHE_HOME=/var/cache/reprorun
ENTRYPOINT ["reprorun"]
