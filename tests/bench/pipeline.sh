#!/bin/sh
# SPDX-License-Identifier: MIT
#
# pipeline.sh: a model on several boards (`make bench-pipeline`), which are imitated on this machine: see
# netlab.py. Makes the model once, into $WORK (default: BUILD/bench), and llama.cpp's RPC server for
# comparison; measures for some 30 minutes. Needs root (namespaces), iproute2, python3 with venv, and
# PyPI; PEER=no leaves llama.cpp out.
#
#   pipeline.sh BUILD [--quick] [--part NAME] [pipeline.py's other options]
#
# Everything runs in a network, a mount and a process namespace of its own, which end with this script however
# it ends: no interface, no mount and no process is left behind.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
build=$(cd "$1" && pwd)
shift
work=${WORK:-$build/bench}
mkdir -p "$work"

skip() {
	echo "skipped: $*"
	exit 77
}
[ "$(id -u)" = 0 ] || skip "network namespaces take root"
for tool in ip tc unshare taskset chrt python3; do
	command -v $tool >/dev/null || skip "no $tool here"
done
unshare --net tc qdisc add dev lo root tbf rate 1gbit burst 16k latency 100ms 2>/dev/null ||
	skip "this kernel has no tbf to limit a link's rate with"

model=$work/pipeline.gguf
if [ ! -f "$model" ]; then
	if [ ! -x "$work/venv/bin/python" ] || ! "$work/venv/bin/python" -c 'import gguf'; then
		python3 -m venv "$work/venv"
		"$work/venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
	fi
	"$work/venv/bin/python" "$here/make_model.py" "$work/part.gguf" --shape pipeline --q8_0
	mv "$work/part.gguf" "$model"
fi
[ "${PEER:-}" = no ] || "$here/peer.sh" "$work"
${CC:-cc} -O2 -Wall -o "$work/oneway" "$here/oneway.c"

certs=$work/certs
rm -rf "$certs"
boards="2-boards-1 2-boards-2 2-cores-1 2-cores-2"
"$build/sherd" cluster init -o "$certs" $boards >/dev/null

# What a frame costs above a bare socket, on each rung, without namespaces.
[ ! -x "$build/tests/bench/hop" ] || "$build/tests/bench/hop" 5

# The first use of a device compiles kernels and tries them: that is not to be measured.
"$build/sherd" bench -m "$model" -p 128 -n 2 -r 1 -t 1 --no-limits >/dev/null

exec unshare --net --mount --pid --fork --kill-child --mount-proc \
	python3 "$here/pipeline.py" --sherd "$build/sherd" --model "$model" --work "$work" --certs "$certs" "$@"
