#!/bin/sh
# Install the Debian packages whose programs record_captures.py records. Needs root.
set -eu

packages="bind9 erlang-base git jq mariadb-server-core memcached mosquitto neovim nginx-light openssl
postgresql-15 prometheus-node-exporter redis-server rsyslog tar unbound util-linux"

# Only the programs are wanted: no service of this machine is started, and none that runs is touched.
refuse=/usr/sbin/policy-rc.d
if [ ! -e "$refuse" ]; then
    trap 'rm -f "$refuse"' EXIT
    printf '#!/bin/sh\nexit 101\n' > "$refuse"
    chmod +x "$refuse"
fi

apt-get update
# shellcheck disable=SC2086 # the list is meant to be split
DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends $packages
