#!/bin/sh
# rollback.sh COMMIT: the program of COMMIT reads and counts what the present one leaves in a spool. No broker is needed.
set -eu
commit=$1
cd "$(dirname "$0")/.."
tmp=$(mktemp -d)
pid=
trap '[ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
mkdir "$tmp/old"
git archive "$commit" | tar x -C "$tmp/old"
(cd "$tmp/old" && go build -o "$tmp/ingest-old" ./cmd/ingest)
go build -o "$tmp/ingest-new" ./cmd/ingest
"$tmp/ingest-new" serve --brokers 127.0.0.1:1 --topic t --listen 127.0.0.1:18499 --admin off --ack disk \
	--spool-dir "$tmp/spool" --shutdown-timeout 3s >"$tmp/ledger" 2>"$tmp/log" &
pid=$!
for i in $(seq 100); do curl -s -o "$tmp/answer" http://127.0.0.1:18499/ && break; sleep 0.1; done
for i in $(seq 20); do curl -s -f -o "$tmp/answer" -d "[{\"traceId\":\"k$((i % 3))\",\"n\":$i}]" http://127.0.0.1:18499/; done
kill "$pid"
wait "$pid" || true
pid=
"$tmp/ingest-old" spool verify "$tmp/spool" | tee "$tmp/verify"
grep -q ', 20 records, .*: 0 damaged' "$tmp/verify"
n=$("$tmp/ingest-old" spool export "$tmp/spool" 2>"$tmp/log" | sort -u | wc -l)
[ "$n" = 20 ]
echo "$commit reads all of it"
