FROM below AS fetched
RUN apt-get update
COPY wheels/ /tmp/wheels/
RUN install-locked /opt/dynamo/venv --no-index --find-links /tmp/wheels
RUN rm -rf /tmp/wheels
RUN rm -rf /var/lib/apt/lists/*
RUN mkdir /tmp/build && rm -rf /tmp/build
FROM fetched
RUN touch /opt/log
RUN <<EOF
set -eu
rm -f /opt/log
EOF
