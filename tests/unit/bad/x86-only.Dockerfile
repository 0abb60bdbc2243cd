FROM --platform=linux/amd64 below
ENV OTHER=1
ENV LIBRARIES=/usr/lib/x86_64-linux-gnu
COPY bin/linux-amd64/etcd /usr/bin/etcd
RUN <<EOF
set -eu
ldd /lib64/ld-linux-x86-64.so.2
EOF
RUN case $(uname -m) in x86_64) echo amd64 ;; aarch64) echo arm64 ;; esac
