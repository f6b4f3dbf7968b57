#!/bin/bash
# A Samba member server for the AD of ad-up.sh: smbd (security = ads) that takes
# its Kerberos keys from DIR/filesrv.keytab, plus winbindd for the SID mapping.
# It proves the keytab and shows a real peer; it is not needed by other servers.
# More shares can go into AD-DIR/member/extra.conf; EXTRA='...' adds global lines.
# usage: ad-smbd-up.sh AD-DIR [PORT]      (stop: ad-smbd-down.sh AD-DIR)
# Environment: ADDR=127.0.0.1, where it listens
set -euo pipefail
A=$(realpath -m "${1:?usage: ad-smbd-up.sh AD-DIR [PORT]}"); PORT=${2:-10447} ADDR=${ADDR:-127.0.0.1}
[ -f "$A/provisioned" ] || { echo "ad-smbd-up: run ad-up.sh $A first" >&2; exit 1; }
D=$A/member; mkdir -p "$D"/{private,state,lock,cache,pid,log,ncalrpc,wb,share}
chmod 0777 "$D/share"; chmod 0755 "$D/wb"
if [ -s "$D/smbd.pid" ] && [ "$(cat /proc/$(cat "$D/smbd.pid")/comm 2>/dev/null)" = smbd ]; then echo "already running"; exit 0; fi
ss -Hltn "src $ADDR and sport = :$PORT" | grep -q . && { echo "ad-smbd-up: port $PORT is in use" >&2; exit 1; }
NW=$(ls /usr/lib/*/libnss_wrapper.so | head -1)
cat > "$D/smb.conf" <<E
[global]
  netbios name = FILESRV
  realm = GABION.TEST
  workgroup = GABION
  security = ads
  password server = dc1.gabion.test
  kerberos method = dedicated keytab
  dedicated keytab file = $A/filesrv.keytab
  machine password timeout = 0
  create krb5 conf = no
  idmap config * : backend = tdb
  idmap config * : range = 100000-199999
  idmap config GABION : backend = rid
  idmap config GABION : range = 200000-299999
  interfaces = $ADDR/8
  bind interfaces only = yes
  smb ports = $PORT
  disable netbios = yes
  name resolve order = host
  private dir = $D/private
  state directory = $D/state
  lock directory = $D/lock
  cache directory = $D/cache
  pid directory = $D/pid
  ncalrpc dir = $D/ncalrpc
  winbindd socket directory = $D/wb
  log file = $D/log/log.%m
  logging = file
  log level = ${LOGLEVEL:-1}
  max log size = 0
  load printers = no
  printing = bsd
  server multi channel support = yes
  kernel share modes = no
  kernel oplocks = no
  posix locking = no
  store dos attributes = yes
  dos filemode = yes
  strict rename = yes
  create mask = 0755
  read only = no
  vfs objects = acl_xattr streams_xattr
  smbd:FSCTL_SMBTORTURE = yes
  ${EXTRA:-}
[share]
  path = $D/share
[hyperv]
  path = $D/share
  valid users = @"GABION\\Hyper-V Hosts"
E
# pasted, not included: FSRVP's ExposeShadowCopySet does not find included shares
[ ! -f "$D/extra.conf" ] || cat "$D/extra.conf" >> "$D/smb.conf"
# the machine account's secret, without a join (which would change the password)
/usr/bin/python3 - "$D/private/secrets.tdb" "$A" <<'P'
import os, struct, sys, time, tdb
path, ad = sys.argv[1:3]
sid = [l.split("\t")[1].strip() for l in open(ad + "/sids.txt") if l.startswith("DOMAIN\t")][0]
pw = [l.split()[1] for l in open(ad + "/accounts.txt") if l.startswith("FILESRV$")][0]
sub = [int(x) for x in sid.split("-")[3:]]
blob = struct.pack("<BB", 1, len(sub)) + bytes([0, 0, 0, 0, 0, 5]) + b"".join(
    struct.pack("<I", s) for s in sub + [0] * (15 - len(sub)))
if os.path.exists(path): os.unlink(path)
t = tdb.Tdb(path, 0, tdb.DEFAULT, os.O_RDWR | os.O_CREAT, 0o600)
t[b"SECRETS/SID/GABION"] = blob
t[b"SECRETS/MACHINE_PASSWORD/GABION"] = pw.encode() + b"\0"
t[b"SECRETS/MACHINE_SEC_CHANNEL_TYPE/GABION"] = struct.pack("<I", 2)
t[b"SECRETS/MACHINE_LAST_CHANGE_TIME/GABION"] = struct.pack("<I", int(time.time()))
t.close()
P
# no libnss-winbind: the domain accounts (idmap rid: uid = 200000 + RID) as files
cp "$A/passwd" "$D/passwd"; cp "$A/group" "$D/group"
while IFS=$'\t' read -r n sid; do
  rid=${sid##*-}
  case "$n" in
    DOMAIN) ;;
    Domain*|Hyper-V*|Backup*) echo "GABION\\$n:x:$((200000+rid)):" | tr '[:upper:]' '[:lower:]' | sed 's/^gabion/GABION/' >> "$D/group";;
    *'$') echo "GABION\\$n:x:$((200000+rid)):200515::/nonexistent:/bin/false" | sed 's/\\\\/\\/' >> "$D/passwd";; # Domain Computers
    *) echo "GABION\\$n:x:$((200000+rid)):200513::/nonexistent:/bin/false" | sed 's/\\\\/\\/' >> "$D/passwd";;
  esac
done < "$A/sids.txt"
export LD_PRELOAD=$NW NSS_WRAPPER_PASSWD=$D/passwd NSS_WRAPPER_GROUP=$D/group NSS_WRAPPER_HOSTS=$A/hosts
export SELFTEST_WINBINDD_SOCKET_DIR=$D/wb KRB5_CONFIG=$A/krb5.conf
( cd "$D"; exec setsid winbindd -F --no-process-group -s "$D/smb.conf" >"$D/log/wb.stdout" 2>&1 </dev/null ) & 
echo $! > "$D/winbindd.pid"
for i in $(seq 1200); do [ -S "$D/wb/pipe" ] && break; sleep 0.1; done
( cd "$D"; exec setsid smbd -F --no-process-group -s "$D/smb.conf" >"$D/log/stdout" 2>&1 </dev/null ) &
echo $! > "$D/smbd.pid"
for i in $(seq 600); do kill -0 "$(cat "$D/smbd.pid")" 2>/dev/null || break; ss -Hltn "src $ADDR and sport = :$PORT" | grep -q . && { echo "member smbd on $ADDR:$PORT, share //filesrv.gabion.test/share"; exit 0; }; sleep 0.2; done
tail -5 "$D"/log/* >&2; exit 1
