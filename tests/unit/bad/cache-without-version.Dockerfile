FROM below
RUN --mount=type=cache,target=/root/.cache/pip true
RUN --mount=type=cache,id=cargo,target=/root/.cargo true
RUN --mount=type=cache,id=cargo-${RUST},target=/root/.cargo --mount=type=cache,id=uv,target=/root/.cache/uv true
