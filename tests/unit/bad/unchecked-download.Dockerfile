FROM below
ADD https://example.invalid/etcd.tar.gz /tmp/
RUN curl --fail --location https://example.invalid/etcd.tar.gz | tar -xz
RUN <<EOF
wget -O /tmp/install https://example.invalid/install
sh /tmp/install
EOF
ADD https://github.com/example/nixl.git#main /src
RUN git clone --depth 1 https://github.com/example/nixl.git
RUN curl -O https://example.invalid/x && echo "0123  x" | sha256sum --check
RUN git clone https://github.com/example/ucx.git && git -C ucx checkout 0123456789abcdef0123456789abcdef01234567
