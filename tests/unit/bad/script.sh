#!/bin/sh
set -eu
curl --output /tmp/x https://example.invalid/x
uv pip install x
cp /tmp/x /usr/lib/x86_64-linux-gnu/
