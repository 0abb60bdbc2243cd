# What the rules let pass.
FROM --platform=${BUILDPLATFORM} tools AS tools
FROM root-${TARGETARCH}
FROM example.invalid/cuda@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
ARG SOURCE_DATE_EPOCH
ARG UCX_COMMIT
ADD --checksum=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef https://example.invalid/x /tmp/
ADD https://github.com/example/ucx.git#0123456789abcdef0123456789abcdef01234567 /src
# lint: allow unchecked-download: a page for people, which no file comes from
RUN curl https://example.invalid/status
RUN --mount=type=cache,id=pip-${PIP},target=/root/.cache/pip pip install --require-hashes --requirement /run/lock.txt
RUN <<EOF
set -eu
touch /tmp/x
# lint: allow unchecked-download: the server is this container's own
curl http://127.0.0.1/
rm -rf /tmp/x
EOF
COPY . /src
ARG REVISION
