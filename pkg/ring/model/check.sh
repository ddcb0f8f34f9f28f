#!/bin/sh
# Checks the Promela models of this package with spin, exhaustively within each configuration.
# Needs spin and a C compiler (Debian: apt-get install spin gcc).
#
#   check.sh          the quick configurations: about a minute, 1 GB
#   check.sh full     the large ones as well: up to 8 GB (MEMORY_MB) and ten minutes each, fifteen in all
#   check.sh bugs     seeds each known mistake and fails unless spin finds it
#
# Everything is built in a temporary directory; nothing is left behind.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mode=${1:-quick}
case $mode in
quick | bugs) memory=${MEMORY_MB:-1024} seconds=60 ;;
full) memory=${MEMORY_MB:-8192} seconds=600 ;;
*)
	echo "usage: check.sh [quick|full|bugs]" >&2
	exit 2
	;;
esac
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
trap 'exit 2' INT TERM
failed=0

# run MODEL DEFINES...: leaves the verifier's report in $dir/out. -E: goroutines parked for ever are
# legal end states, the assertions behind `timeout` judge them. Exit status: 0 ok, 1 error found,
# 2 not decided (out of memory, time or depth).
run() {
	model=$1
	shift
	(
		cd "$dir"
		rm -f pan pan.c ./*.trail
		spin "$@" -a "$here/$model.pml" >spin.log 2>&1 || { cat spin.log >&2; exit 2; }
		gcc -O2 -w -DSAFETY -DCOLLAPSE -DMEMLIM="$memory" -o pan pan.c
		timeout "$seconds" ./pan -m1000000 -E >out 2>&1 || true
		if grep -q 'errors: [1-9]' out; then exit 1; fi
		if grep -q 'errors: 0' out && ! grep -qE 'not completed|max search depth' out; then exit 0; fi
		exit 2
	)
}

# holds: the configuration must be free of errors.
holds() {
	begin=$(date +%s)
	if run "$@"; then verdict=ok; else
		verdict=FAILED
		failed=1
		grep -E 'error|assert|not completed|depth too small|MEMLIM' "$dir/out" >&2 || tail -3 "$dir/out" >&2
	fi
	states=$(sed -n 's/^ *\([0-9.e+]*\) states, stored.*/\1/p' "$dir/out")
	printf '%-6s %12s states %4ss  %s\n' "$verdict" "$states" "$(($(date +%s) - begin))" "$*"
}

# finds WHAT CONFIGURATION: the seeded mistake must be found.
finds() {
	what=$1
	shift
	status=0
	run "$@" || status=$?
	if [ $status -eq 1 ]; then verdict=found; else
		verdict=MISSED
		failed=1
	fi
	printf '%-6s %-62s %s\n' "$verdict" "$what" "$*"
}

ring="ring -DSTALL=0 -DGATE=0"
park="park -DNI=2"

if [ "$mode" = bugs ]; then
	c="-DNP=2 -DNI=1 -DNC=2 -DB=1 -DCAP=2"
	o="-DNP=2 -DNI=1 -DNC=1 -DB=2 -DCAP=2"
	# shellcheck disable=SC2086
	{
		finds "published before the value is stored" $ring $o -DCLOSE=0 -DBUG=1
		finds "who pops does not pass the wake-up on" $ring $c -DCLOSE=1 -DBUG=2
		finds "push does not notify" $ring $o -DCLOSE=0 -DBUG=4
		finds "parks without a second look" $ring $o -DCLOSE=0 -DBUG=5
		finds "the news of Close is not passed on" $ring $c -DCLOSE=1 -DBUG=6
		finds "closed is a word beside tail" $ring $o -DCLOSE=1 -DBUG=7
		finds "slot freed before it is read" $ring -DNP=2 -DNI=2 -DNC=1 -DB=1 -DCAP=2 -DCLOSE=0 -DBUG=8
		finds "leaves while an item is claimed and not yet published" $ring $o -DCLOSE=1 -DBUG=9
		finds "full without a look at head" $ring -DNP=2 -DNI=2 -DNC=1 -DB=1 -DCAP=2 -DCLOSE=0 -DBUG=10

		finds "consumer parks without a second look" $park -DNP=2 -DNC=1 -DB=1 -DCAP=2 -DCLOSE=0 -DSTALL=0 -DCANCEL=0 -DBUG=1
		finds "who pops does not pass the wake-up on" $park -DNP=2 -DNC=2 -DB=1 -DCAP=2 -DCLOSE=0 -DSTALL=1 -DCANCEL=0 -DBUG=2
		finds "the news of Close is not passed on" $park -DNP=1 -DNC=2 -DB=2 -DCAP=2 -DCLOSE=1 -DSTALL=0 -DCANCEL=0 -DBUG=3
		finds "push does not notify" $park -DNP=1 -DNC=1 -DB=1 -DCAP=2 -DCLOSE=0 -DSTALL=0 -DCANCEL=0 -DBUG=4
		finds "waiters loaded before publishing" $park -DNP=1 -DNC=1 -DB=1 -DCAP=2 -DCLOSE=0 -DSTALL=0 -DCANCEL=0 -DBUG=6
		finds "pop does not tell waiting producers" $park -DNP=1 -DNC=1 -DB=1 -DCAP=1 -DCLOSE=0 -DSTALL=0 -DCANCEL=0 -DBUG=7
		finds "a batch of freed slots wakes one producer" $park -DNP=3 -DNC=1 -DB=2 -DCAP=2 -DCLOSE=0 -DSTALL=1 -DCANCEL=0 -DBUG=8
		finds "leaves by its context with the token" $park -DNP=1 -DNC=2 -DB=1 -DCAP=2 -DCLOSE=0 -DSTALL=0 -DCANCEL=1 -DBUG=9
		finds "producer parks without a second look" $park -DNP=1 -DNC=1 -DB=1 -DCAP=1 -DCLOSE=0 -DSTALL=0 -DCANCEL=0 -DBUG=10

		finds "looks before it raises the flag" gate -DCLOSE=0 -DHOLD=0 -DIDLE=0 -DBUG=1
		finds "who leaves the queue does not grant" gate -DCLOSE=0 -DHOLD=1 -DIDLE=0 -DBUG=2
		finds "granted while timing out is dropped" gate -DCLOSE=0 -DHOLD=0 -DIDLE=0 -DBUG=3
		finds "newcomers pass the queue" gate -DCLOSE=0 -DHOLD=0 -DIDLE=0 -DBUG=4
		finds "release does not grant" gate -DCLOSE=0 -DHOLD=0 -DIDLE=0 -DBUG=5
		finds "Close forgets who waits" gate -DCLOSE=1 -DHOLD=0 -DIDLE=0 -DBUG=6
		finds "WaitIdle looks before it raises the flag" gate -DCLOSE=0 -DHOLD=0 -DIDLE=1 -DBUG=7
		finds "the flag stays when the queue is empty" gate -DCLOSE=0 -DHOLD=0 -DIDLE=0 -DBUG=8
	}
	exit $failed
fi

# shellcheck disable=SC2086
{
	for close in 0 1; do
		for idle in 0 1; do holds gate -DCLOSE=$close -DHOLD=0 -DIDLE=$idle; done
		holds gate -DCLOSE=$close -DHOLD=1 -DIDLE=0
		holds park -DNI=1 -DNP=2 -DNC=2 -DB=1 -DCAP=1 -DCLOSE=$close -DSTALL=$((1 - close)) -DCANCEL=$((1 - close))
		holds park -DNI=2 -DNP=1 -DNC=2 -DB=2 -DCAP=2 -DCLOSE=$close -DSTALL=1 -DCANCEL=1
		holds park -DNI=2 -DNP=2 -DNC=1 -DB=2 -DCAP=1 -DCLOSE=$close -DSTALL=0 -DCANCEL=0
		holds $ring -DNP=2 -DNI=1 -DNC=1 -DB=2 -DCAP=2 -DCLOSE=$close
		holds $ring -DNP=1 -DNI=3 -DNC=1 -DB=2 -DCAP=2 -DCLOSE=$close
		holds ring -DSTALL=1 -DGATE=0 -DNP=1 -DNI=2 -DNC=2 -DB=1 -DCAP=2 -DCLOSE=$close
		holds ring -DSTALL=0 -DGATE=1 -DNP=1 -DNI=3 -DNC=2 -DB=1 -DCAP=2 -DCLOSE=$close
	done
	if [ "$mode" = full ]; then
		for close in 0 1; do
			holds park -DNI=1 -DNP=2 -DNC=2 -DB=1 -DCAP=1 -DCLOSE=$close -DSTALL=1 -DCANCEL=1
			holds $park -DNP=2 -DNC=2 -DB=1 -DCAP=2 -DCLOSE=$close -DSTALL=$((1 - close)) -DCANCEL=$((1 - close))
			[ $close = 1 ] || holds $park -DNP=2 -DNC=2 -DB=2 -DCAP=1 -DCLOSE=0 -DSTALL=0 -DCANCEL=1
			holds $ring -DNP=2 -DNI=1 -DNC=2 -DB=1 -DCAP=2 -DCLOSE=$close
			holds $ring -DNP=2 -DNI=2 -DNC=1 -DB=2 -DCAP=2 -DCLOSE=$close
			holds ring -DSTALL=0 -DGATE=1 -DNP=2 -DNI=2 -DNC=1 -DB=2 -DCAP=2 -DCLOSE=$close
		done
	fi
}
exit $failed
