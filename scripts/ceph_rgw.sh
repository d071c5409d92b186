#!/usr/bin/env bash
# A Ceph S3 gateway of one's own for the soak run: one monitor, one OSD, one radosgw, all on loopback, as root.
#
#   apt-get install --no-install-recommends ceph-mon ceph-osd radosgw ceph-common
#   scripts/ceph_rgw.sh start         prints the directory and the environment that reaches the gateway
#   scripts/ceph_rgw.sh stop DIR      ends the three processes and removes the directory
#
# Not for data: one copy, and everything in a temporary directory.
set -euo pipefail

BUCKET=${BUCKET:-quiver-ceph}
DISK_GIB=${DISK_GIB:-8}
WAIT_SECONDS=60
PYTHON=${PYTHON:-$(cd "$(dirname "$0")/.." && pwd)/.venv/bin/python}  # one that has boto3: `make venv`

die() { echo "ceph_rgw: $*" >&2; exit 1; }

free_ports() { # N distinct free TCP ports of loopback
  "$PYTHON" - "$1" <<'PYTHON'
import socket, sys
held = [socket.socket() for _ in range(int(sys.argv[1]))]
for each in held:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in held))
PYTHON
}

token() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }

wait_for() { # DESCRIPTION COMMAND...
  local what=$1 end=$((SECONDS + WAIT_SECONDS)); shift
  until "$@" >/dev/null 2>&1; do
    ((SECONDS < end)) || die "$what: not there after $WAIT_SECONDS s"
    sleep 0.3
  done
}

configure() { # MON_V2 MON_V1
  cat >"$DIR/ceph.conf" <<CONF
[global]
fsid = $(cat /proc/sys/kernel/random/uuid)
mon host = [v2:127.0.0.1:$1/0,v1:127.0.0.1:$2/0]
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth allow insecure global id reclaim = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd crush chooseleaf type = 0
osd objectstore = bluestore
osd memory target = 939524096
bluestore block size = $((DISK_GIB << 30))
mon allow pool size one = true
mon data avail crit = 1
mon max pg per osd = 1000
run dir = $DIR
crash dir = $DIR
keyring = $DIR/keyring
admin socket = $DIR/\$name.asok
pid file = $DIR/\$name.pid
log file = $DIR/\$name.log
mon data = $DIR/mon
osd data = $DIR/osd
rgw data = $DIR/rgw
CONF
}

start_monitor() { # MON_V2 MON_V1
  mkdir "$DIR/mon"
  ceph-authtool --create-keyring "$DIR/keyring" --gen-key -n mon. --cap mon 'allow *' >/dev/null
  ceph-authtool "$DIR/keyring" --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' >/dev/null
  ceph-authtool "$DIR/keyring" --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx' >/dev/null
  ceph-authtool "$DIR/keyring" --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' >/dev/null
  monmaptool --create --fsid "$(awk '/^fsid/{print $3}' "$DIR/ceph.conf")" \
    --addv a "[v2:127.0.0.1:$1/0,v1:127.0.0.1:$2/0]" "$DIR/monmap" >/dev/null
  ceph-mon -c "$DIR/ceph.conf" --mkfs -i a --monmap "$DIR/monmap" --keyring "$DIR/keyring"
  ceph-mon -c "$DIR/ceph.conf" -i a
  wait_for "the monitor" timeout 10 ceph -c "$DIR/ceph.conf" quorum_status
}

start_osd() {
  local uuid; uuid=$(cat /proc/sys/kernel/random/uuid)
  mkdir "$DIR/osd"
  timeout 30 ceph -c "$DIR/ceph.conf" osd new "$uuid" 0 >/dev/null
  timeout 30 ceph -c "$DIR/ceph.conf" auth import -i "$DIR/keyring" >/dev/null 2>&1
  ceph-osd -c "$DIR/ceph.conf" -i 0 --mkfs --osd-uuid "$uuid" >>"$DIR/osd.0.out" 2>&1
  ceph-osd -c "$DIR/ceph.conf" -i 0 >>"$DIR/osd.0.out" 2>&1
  wait_for "the OSD" sh -c "timeout 10 ceph -c '$DIR/ceph.conf' osd stat | grep -q '1 up'"
}

start_gateway() { # PORT ACCESS_KEY SECRET_KEY
  mkdir "$DIR/rgw"
  timeout "$WAIT_SECONDS" radosgw-admin -c "$DIR/ceph.conf" user create --uid quiver --display-name quiver \
    --access-key "$2" --secret-key "$3" >>"$DIR/user.out" 2>&1 || die "no user: see $DIR/user.out"
  radosgw -c "$DIR/ceph.conf" -n client.rgw --rgw-frontends "beast endpoint=127.0.0.1:$1"
  wait_for "the bucket" create_bucket "$@"
}

create_bucket() { # PORT ACCESS_KEY SECRET_KEY
  AWS_ACCESS_KEY_ID=$2 AWS_SECRET_ACCESS_KEY=$3 "$PYTHON" - "$1" "$BUCKET" <<'PYTHON'
import sys, boto3
port, bucket = sys.argv[1:]
client = boto3.client("s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1")
client.create_bucket(Bucket=bucket)
PYTHON
}

start() {
  for each in ceph-mon ceph-osd radosgw radosgw-admin ceph "$PYTHON"; do
    command -v "$each" >/dev/null || die "$each is not installed: see the top of this script"
  done
  DIR=$(mktemp -d /tmp/quiver-ceph.XXXXXX)
  touch "$DIR/made-by-ceph_rgw"
  trap 'tail -n 3 "$DIR"/*.log "$DIR"/*.out >&2; stop "$DIR"' EXIT
  local v2 v1 port access secret
  read -r v2 v1 port <<<"$(free_ports 3)"
  access=Q$(token 9) secret=$(token 20)
  configure "$v2" "$v1"
  start_monitor "$v2" "$v1"
  start_osd
  start_gateway "$port" "$access" "$secret"
  (umask 077; cat >"$DIR/environment" <<ENV
export AWS_ENDPOINT_URL_S3=http://127.0.0.1:$port
export AWS_ACCESS_KEY_ID=$access
export AWS_SECRET_ACCESS_KEY=$secret
export AWS_REGION=us-east-1
ENV
  )
  trap - EXIT
  echo "$DIR"
  echo "  . $DIR/environment   # then: quiver doctor s3://$BUCKET/soak"
}

stop() {
  local directory=$1 file pid
  [[ -e $directory/made-by-ceph_rgw ]] || die "$directory was not made by this script"
  for file in "$directory"/client.rgw.pid "$directory"/osd.0.pid "$directory"/mon.a.pid; do
    [[ -s $file ]] || continue
    pid=$(<"$file")
    # A process of another program may have the number by now.
    grep -q "$directory" "/proc/$pid/cmdline" 2>/dev/null || continue
    kill "$pid" || true
    for _ in $(seq 100); do [[ -e /proc/$pid ]] || break; sleep 0.1; done
    [[ ! -e /proc/$pid ]] || kill -9 "$pid"
  done
  rm -rf "$directory"
}

case ${1:-} in
  start) start ;;
  stop) stop "${2:?which directory?}" ;;
  *) die "usage: ceph_rgw.sh start | stop DIR" ;;
esac
