#!/bin/sh
# A night of bulkrevoke, for cron and systemd: nightly.sh SHEET... A folder stands for the
# sheets in it. To install it:
#
#   install -m 0755 nightly.sh /usr/local/bin/bulkrevoke-nightly
#
# It prints nothing if nobody has to look. Otherwise it prints what a mail needs: the sheet,
# the exit code and what that means, the run's own figures with what to do next, and the first
# rows that need somebody, each with its reason. Those are cells of the sheet: mail them to
# people who may read it, or set NIGHTLY_ROWS to 0.
#
# NIGHTLY_LOG      file that everything goes to (nightly.log in the working folder)
# NIGHTLY_METRICS  folder for a metrics file of each sheet (no metrics)
# NIGHTLY_ROWS     how many rows to print (20)
#
# Flags of `run` are given as variables (BULKREVOKE_WAIT=30m) or in the configuration. It ends
# with the highest exit code of its sheets.
set -eu
umask 077

log=${NIGHTLY_LOG:-nightly.log}
case $log in
/*) ;;
*) log=$PWD/$log ;;
esac
rows=${NIGHTLY_ROWS:-20}
worst=0
: >>"$log"
said=$(mktemp)
trap 'rm -f "$said"' EXIT
# A signal to everybody here ends bulkrevoke gently, and this waits until it has.
trap : HUP INT TERM

meaning() {
	case $1 in
	1) echo "some rows are not as the sheet asks, or a bystander has lost access" ;;
	2) echo "refused, nothing was sent" ;;
	3) echo "stopped early or could not start on an account, run it again to go on" ;;
	4) echo "another run or program was at it, so nothing was done" ;;
	129 | 130 | 143) echo "interrupted by a signal, run it again to go on; no other sheet was begun after it" ;;
	*) echo "it could not be started, or was killed; what was sent is in the ledger, run it again to go on" ;;
	esac
}

# first prints so many lines of what it reads, and says if there are more.
first() {
	sed -n "1,$1p; $(($1 + 1))s/.*/(and more)/p"
}

# night runs one sheet.
night() {
	sheet=$1
	code=0
	set -- run --progress never --log-format text
	if [ -n "${NIGHTLY_METRICS:-}" ]; then
		set -- "$@" --metrics-file "$NIGHTLY_METRICS/bulkrevoke-${sheet##*/}.prom"
	fi
	bulkrevoke "$@" -- "$sheet" </dev/null >"$said" 2>&1 || code=$?
	{
		printf '=== %s %s: exit code %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$sheet" "$code"
		cat "$said"
	} >>"$log" || echo "$log: what follows could not be written there"
	if [ "$code" -eq 0 ]; then
		return
	fi
	if [ "$code" -gt "$worst" ]; then
		worst=$code
	fi
	printf '%s: exit code %s: %s\n\n' "$sheet" "$code" "$(meaning "$code")"
	grep -Ev '^time=[^ ]+ level=(DEBUG|INFO|WARN) ' "$said" | first 40
	case $code in
	2 | 4) ;; # the rows are as the run before has left them
	*)
		if [ "$rows" -gt 0 ]; then
			printf '\nrows that need somebody:\n'
			bulkrevoke results --open --log-format text -- "$sheet" </dev/null 2>&1 | first $((rows + 1))
		fi
		;;
	esac
	printf '\nlog: %s\n\n' "$log"
	case $code in
	129 | 130 | 143) exit "$worst" ;;
	esac
}

if [ $# -eq 0 ]; then
	echo "usage: $0 SHEET..." >&2
	exit 2
fi
for sheets; do
	if [ ! -d "$sheets" ]; then
		night "$sheets"
		continue
	fi
	found=no
	for one in "$sheets"/*.csv "$sheets"/*.tsv "$sheets"/*.txt "$sheets"/*.xlsx; do
		case ${one##*/} in
		# What bulkrevoke writes beside sheets, and what Excel leaves beside an open one.
		*.results.csv | *.results.tsv | *.results.xlsx | *.people.csv | *.undo.csv | '~$'*) continue ;;
		esac
		if [ -f "$one" ]; then
			found=yes
			night "$one"
		fi
	done
	if [ $found = no ]; then
		printf '%s: there is no sheet in this folder\n' "$sheets"
		if [ "$worst" -lt 2 ]; then
			worst=2
		fi
	fi
done
exit "$worst"
