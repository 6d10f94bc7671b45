#!/bin/sh
# SPDX-License-Identifier: MIT
#
# run.sh: sherd against llama.cpp (`make bench`). Builds the peer and makes the models once, into
# $WORK (default: BUILD/bench, about 7 GiB at the worst moment), then measures for some 15 minutes
# on an otherwise idle machine. Needs python3 with venv, cmake, a C++ compiler and PyPI.
#
#   run.sh BUILD [--quick] [compare.py's other options]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
work=${WORK:-$build/bench}
mkdir -p "$work"
shape=tinyllama
for a in "$@"; do
	[ "$a" != --quick ] || shape=tiny
done

"$here/peer.sh" "$work"
quantize=$work/peer/$(head -1 "$work/peer/builds")/bin/llama-quantize

if [ ! -f "$work/$shape-Q8_0.gguf" ] || [ ! -f "$work/$shape-Q4_0.gguf" ]; then
	if [ ! -x "$work/venv/bin/python" ] || ! "$work/venv/bin/python" -c 'import gguf'; then
		python3 -m venv "$work/venv"
		"$work/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
	fi
	"$work/venv/bin/python" "$here/make_model.py" "$work/$shape-f16.gguf" --shape "$shape"
	for type in Q4_0 Q8_0; do
		"$quantize" --pure "$work/$shape-f16.gguf" "$work/part.gguf" $type \
			>"$work/quantize.log" 2>&1
		mv "$work/part.gguf" "$work/$shape-$type.gguf"
	done
	rm "$work/$shape-f16.gguf"
fi

${CC:-cc} -O2 -o "$work/empty" "$here/empty.c" -lOpenCL
"$work/empty" >/dev/null # fills the driver's cache
empty=$("$work/empty")

exec python3 "$here/compare.py" --sherd "$build/sherd" --peer "$work/peer" --out "$work" \
	--models "$work/$shape-Q4_0.gguf" "$work/$shape-Q8_0.gguf" \
	--small "$here/../../models/kdoc-5m-Q4_0.gguf" "$here/../../models/kdoc-5m-Q8_0.gguf" \
	--empty $((empty * 1024)) "$@"
