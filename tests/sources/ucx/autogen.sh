#!/bin/sh
# As the real one: makes ./configure.
set -e
mkdir -p config/m4
exec autoreconf --force --install
