#!/bin/sh
# Install the real programs, and the independent implementations, that the plugins' tests talk to, and the programs
# that examples/record_captures.py records (Debian 12, as root; the implementations into the virtual environment
# that is active, or where PYTHON says).
# Then run, for example:  FRAMESTREAM_REAL_PEERS=1 python -m pytest plugins/netstring
set -eu

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
# records
debian="$debian systemd systemd-journal-remote"
pypi="$pypi tfrecord>=1.14 warcio>=1.7 python-pcapng>=2.1"
# marked
pypi="$pypi pyubx2>=1.2 pynmeagps>=1.0 simplefix>=1.0"
# proxy: nginx is above
debian="$debian haproxy libnginx-mod-stream"
pypi="$pypi proxy-protocol[crc32c]>=0.11"
# no plugin, but tests/test_operations.py: a balancer, metrics and alerts, readiness and the watchdog
debian="$debian haproxy prometheus systemd"
# opentelemetry
pypi="$pypi opentelemetry-sdk>=1.20"
# captures: those that no plugin talks to
debian="$debian bind9 git mariadb-server-core memcached neovim openssl postgresql-15 tar"

# Only the programs are wanted: no service of this machine is started, and none that runs is touched.
refuse=/usr/sbin/policy-rc.d
if [ ! -e "$refuse" ]; then
    trap 'rm -f "$refuse"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$refuse"
    chmod +x "$refuse"
fi

apt-get update
# shellcheck disable=SC2086 # the lists are meant to be split
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $debian
# shellcheck disable=SC2086
"${PYTHON:-python3}" -m pip install $pypi
