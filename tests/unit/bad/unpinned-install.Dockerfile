FROM below
RUN pip install torch==2.11.0
RUN apt-get update && apt-get install --yes curl
RUN cargo install maturin
RUN <<EOF
"${PYTHON}" -m pip install --quiet nixl
npm install --global yarn@1.22.22
uv tool install ruff
EOF
RUN install-locked /opt/dynamo/venv torch
RUN pip install --require-hashes --requirement /run/lock.txt
