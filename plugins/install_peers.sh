#!/bin/sh
# Install the real programs, and the independent implementations, that the plugins' tests talk to (Debian 12).
# Then run, for example:  FRAMESTREAM_REAL_PEERS=1 python -m pytest plugins/netstring
set -eu

export DEBIAN_FRONTEND=noninteractive

# netstring: nginx (SCGI), postfix (socketmap)
debian="nginx postfix"
# resp
debian="$debian redis-server"
# json
debian="$debian jq mpv qemu-system-x86"
# lsp
debian="$debian clangd python3-pylsp python3-pyflakes"
# mqtt
debian="$debian mosquitto mosquitto-clients"
# syslog
debian="$debian rsyslog bsdutils"
# erlang, fastcgi: nginx is above
debian="$debian erlang-base"

# cobs, slip
pypi="cobs>=1.2 sliplib>=0.7"
# http: nginx is above
debian="$debian curl"
# websocket
pypi="$pypi websockets>=13 wsproto>=1.2"
# fstrm
debian="$debian fstrm-bin unbound"
# protobuf
debian="$debian prometheus-node-exporter"
pypi="$pypi protobuf>=5.28"

apt-get install -y --no-install-recommends $debian
"${PYTHON:-python3}" -m pip install $pypi
