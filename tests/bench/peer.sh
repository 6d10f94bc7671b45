#!/bin/sh
# SPDX-License-Identifier: MIT
#
# peer.sh: builds llama.cpp for the comparison, from the source package of llama-cpp-python on
# PyPI, with native flags and the CPU back end. Several compilers and flags, because none is the
# fastest everywhere; each build that can run a model stays, and compare.py takes the fastest of
# them.
#
#   peer.sh WORK     ->  WORK/peer/<build>/bin/{llama-bench,llama-quantize,llama-completion,
#                                                  ggml-rpc-server}
#                        WORK/peer/builds: the names of those that run
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mkdir -p "$1" && cd "$1" && pwd)
version=0.3.36
sha256=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
sdist=$work/llama_cpp_python-$version.tar.gz
src=$work/llama_cpp_python-$version/vendor/llama.cpp
jobs=${JOBS:-$(nproc)}

say() {
	printf 'peer: %s\n' "$*" >&2
}

get_source() {
	[ -d "$src" ] && return
	if [ ! -f "$sdist" ]; then
		python3 -m venv "$work/venv-pip"
		"$work/venv-pip/bin/pip" download --quiet --no-binary :all: --no-deps \
			--dest "$work" "llama-cpp-python==$version"
	fi
	echo "$sha256  $sdist" | sha256sum --check --quiet
	tar -C "$work" -xf "$sdist"
}

# build NAME CC CXX FLAGS [cmake option ...]
build() {
	name=$1 cc=$2 cxx=$3 flags=$4
	shift 4
	dir=$work/peer/$name
	if ! command -v "$cc" >/dev/null || ! command -v "$cxx" >/dev/null; then
		say "$name: no $cc here, left out"
		return
	fi
	if [ ! -x "$dir/bin/ggml-rpc-server" ]; then
		say "$name: building (log: $dir/log)"
		mkdir -p "$dir"
		CC=$cc CXX=$cxx cmake -S "$src" -B "$dir" -DCMAKE_BUILD_TYPE=Release \
			-DGGML_NATIVE=ON -DGGML_RPC=ON -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_SERVER=OFF \
			-DLLAMA_OPENSSL=OFF -DCMAKE_C_FLAGS="-w $flags" \
			-DCMAKE_CXX_FLAGS="-w $flags" "$@" >"$dir/log" 2>&1 &&
			cmake --build "$dir" -j "$jobs" --target llama-bench llama-quantize \
				llama-completion ggml-rpc-server >>"$dir/log" 2>&1 || {
			say "$name: does not build, left out: $(tail -1 "$dir/log")"
			return
		}
	fi
	if "$dir/bin/llama-bench" -m "$here/../../models/kdoc-5m-Q8_0.gguf" -p 64 -n 4 -r 1 \
		>"$dir/probe" 2>&1; then
		say "$name: runs"
		echo "$name" >>"$work/peer/builds"
	else
		say "$name: crashes, left out: $(tail -1 "$dir/probe")"
	fi
}

get_source
mkdir -p "$work/peer"
: >"$work/peer/builds"
build gcc gcc g++ "-include $here/amx-barrier.h"
build clang-14 clang-14 clang++-14 "-include $here/amx-barrier.h" -DGGML_OPENMP=OFF
if grep -qw amx_int8 /proc/cpuinfo; then
	build gcc-no-amx gcc g++ "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"
fi
[ -s "$work/peer/builds" ] || {
	say "no build of llama.cpp runs on this machine"
	exit 1
}
