#!/bin/sh
# Run by FunctionGraph at the start of an instance, from the folder extension/ of the dependency package.
# No program is started but ingest itself: each would be milliseconds of the function's cold start.
dir=${0%/*}
[ "$dir" = "$0" ] && dir=.
# The platform knows an extension by the full file name of its start script.
export INGEST_EXTENSION_NAME="${INGEST_EXTENSION_NAME:-${0##*/}}"
bin=$dir/ingest
if [ ! -x "$bin" ]; then # unpacked by something that forgot the modes
	bin=${TMPDIR:-/tmp}/ingest.$$
	cp "$dir/ingest" "$bin" && chmod 700 "$bin" || exit 0
fi
# The one binary runs on every CPU of its architecture: what it uses beyond the baseline it looks for first.
exec "$bin" extension "$@"
