#!/bin/sh
# Run by FunctionGraph at the start of an instance, from the folder extension/ of the dependency package.
# No program is started but ingest itself: each would be milliseconds of the function's cold start.
dir=${0%/*}
[ "$dir" = "$0" ] && dir=.
# The platform knows an extension by the full file name of its start script.
export INGEST_EXTENSION_NAME="${INGEST_EXTENSION_NAME:-${0##*/}}"
bin=$dir/ingest
if [ ! -x "$bin" ] && ! { chmod 700 "$bin" 2>/dev/null && [ -x "$bin" ]; }; then
	# Unpacked read-only by something that forgot the modes. The copy has a name that nobody can guess, in a directory
	# of its own, and is gone from there before it runs.
	tmp=
	if tmp=$(mktemp -d) && cp "$bin" "$tmp/ingest" && chmod 700 "$tmp/ingest" && exec 9<"$tmp/ingest"; then
		rm -rf "$tmp"
		bin=/proc/self/fd/9
	else
		[ -n "$tmp" ] && rm -rf "$tmp"
		echo "${0##*/}: $bin may not be executed and cannot be copied, no telemetry is taken: pack it with mode 0755" >&2
		exit 0
	fi
fi
# The one binary runs on every CPU of its architecture: what it uses beyond the baseline it looks for first.
exec "$bin" extension "$@"
