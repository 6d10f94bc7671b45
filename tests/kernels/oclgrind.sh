#!/bin/bash
# SPDX-License-Identifier: MIT
#
# oclgrind.sh: the kernels' test under Oclgrind, which interprets every kernel and sees reads and
# writes beyond buffers, data races and wrong API calls. It knows no inline assembly, so the plain
# path of dot4.h is forced, and its built-ins have their own precision: what counts is Oclgrind's
# log, which has to stay empty, not the test's verdict on bits - unless the test was killed by a
# signal.
#
# Slow: SHERD_OCLGRIND=1 tells the test to take its smallest shapes. For check-long, or by hand.
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
export SHERD_DOT=plain SHERD_OCLGRIND=1 XDG_CACHE_HOME=$tmp CMOCKA_MESSAGE_OUTPUT=STDOUT
oclgrind --data-races --check-api --max-errors 20 --log "$tmp/log" "$program" "$@" >"$tmp/out" 2>&1
rc=$?
sed 's/^/# /' "$tmp/out" | tail -20

echo "1..2"
if ((rc < 126)); then
	echo "ok 1 - the kernels run under Oclgrind to the end"
else
	echo "not ok 1 - the kernels' test ended with $rc"
fi
if [[ -s $tmp/log ]]; then
	sed 's/^/# /' "$tmp/log" | head -60
	echo "not ok 2 - Oclgrind has something to say"
	exit 1
fi
echo "ok 2 - no race, no access out of bounds, no wrong API call"
((rc < 126))
