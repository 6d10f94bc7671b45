#!/bin/bash
# SPDX-License-Identifier: MIT
#
# oclgrind.sh: the kernels' test under Oclgrind, which interprets every kernel and sees reads and
# writes beyond buffers, data races and wrong API calls. It knows no inline assembly, so the plain
# path of dot4.h is forced, and its built-ins have their own precision: what counts is Oclgrind's
# log, which has to stay empty, not the test's verdict on bits - unless the test was killed by a
# signal, or Oclgrind gave up on a kernel.
#
# walk.cl runs apart, without the race check: its workers hand results to each other within a launch, by
# a counter that all add to atomically when what they wrote is there. Oclgrind takes that for a race, as
# it knows no order between work-groups; and it stops at the fence that there is for machines.
#
# It compiles with -O3, since what its LLVM leaves of structures that inlined functions return, at less, it
# does not know (llvm.experimental.noalias.scope.decl), and gives up.
#
# Slow: SHERD_OCLGRIND=... tells the test to leave out its largest shapes. For check-long, or by hand.
set -u
cd "$(dirname "$0")/../.." || exit 1

[[ -n ${SHERD_LONG:-} || $# -gt 0 || -t 1 ]] || {
	echo "skipped: Oclgrind runs in make check-long"
	exit 77
}
command -v oclgrind >/dev/null || {
	echo "skipped: no oclgrind here"
	exit 77
}
[[ -e tests/kernels/test_kernels.c ]] || {
	echo "skipped: no tests/kernels/test_kernels.c"
	exit 77
}
# Oclgrind is preloaded, which the sanitizers' runtime does not like: the plain build.
build=${SHERD_BUILD_PLAIN:-build}
program=$build/tests/kernels/test_kernels
make --no-print-directory O="$build" "$program" >/dev/null || exit 1

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
export SHERD_DOT=plain XDG_CACHE_HOME=$tmp CMOCKA_MESSAGE_OUTPUT=STDOUT

# examine WHICH WHAT BUILD-OPTIONS OPTION...: the programs that SHERD_OCLGRIND=WHICH stands for; two results.
bad=0
n=0
examine()
{
	local which=$1 what=$2 options=$3 rc
	shift 3

	SHERD_OCLGRIND=$which oclgrind --build-options "-O3 $options" "$@" --check-api --max-errors 20 \
		--log "$tmp/log" "$program" >"$tmp/out" 2>&1
	rc=$?
	sed 's/^/# /' "$tmp/out" | tail -20
	n=$((n + 1))
	if ((rc < 126)) && ! grep -q 'OCLGRIND FATAL ERROR' "$tmp/out"; then
		echo "ok $n - $which: the kernels run under Oclgrind to the end"
	else
		grep -A1 'OCLGRIND FATAL ERROR' "$tmp/out" | sed 's/^/# /'
		echo "not ok $n - $which: the kernels' test ended with $rc"
		bad=1
	fi
	n=$((n + 1))
	if [[ -s $tmp/log ]]; then
		sed 's/^/# /' "$tmp/log" | head -60
		echo "not ok $n - $which: Oclgrind has something to say"
		bad=1
	else
		echo "ok $n - $which: $what"
	fi
}

echo "1..4"
examine walks "no access out of bounds, no wrong API call" -DSHERD_NO_FENCE
examine steps "no race, no access out of bounds, no wrong API call" "" --data-races
exit $bad
