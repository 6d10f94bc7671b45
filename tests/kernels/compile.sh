#!/bin/bash
# SPDX-License-Identifier: MIT
#
# compile.sh: every kernel compiles for devices that are not here, through each path of dot4.h, in
# each form that the host builds it in: SPIR for Mali and for the plain shapes, x86 and Arm
# machine code, PTX for NVIDIA and, where ptxas is installed, NVIDIA's assembler. Built-in
# functions stay unresolved: this finds what a front end, an optimizer and an assembler refuse,
# not what links or runs. And the instruction that a path is named after has to be in what comes
# out. Speaks TAP. compile.sh [FILE.cl ...]
set -u
cd "$(dirname "$0")/../.." || exit 1

clang=$(command -v "${CLANG:-clang-14}" || command -v clang) || {
	echo "skipped: no clang here"
	exit 77
}
ptxas=$(command -v ptxas || command -v /usr/local/cuda/bin/ptxas) ||
	echo "skipped: no ptxas here, PTX is not assembled"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The whole default header: the short one's vload_half() wants fp16. Kernel callers define the
# version.
cl=("$clang" -x cl -cl-no-stdinc -Xclang -finclude-default-header -D__OPENCL_VERSION__=120
	-Ikernels-cl -Wall -Werror -Wno-unused-function -Wno-ignored-pragmas -O2)
# name, shape, path, the instruction (or built-in) to be found in a matmul, the machine
targets=(
	"spir-wide   WIDE PLAIN   fma         -target spir64-unknown-unknown"
	"spir-simt   SIMT PLAIN   fma         -target spir64-unknown-unknown"
	"mali        SIMT ARM     arm_dot_acc -target spir64-unknown-unknown"
	"khr         SIMT KHR     dot_4x8     -target spir64-unknown-unknown"
	"x86-vnni    WIDE VNNI512 vpdpbusd    -target x86_64-linux-gnu -march=skylake-avx512"
	"x86-amx     WIDE AMX     tdpb        -target x86_64-linux-gnu -march=skylake-avx512"
	"arm64-sdot  WIDE SDOT    sdot        -target aarch64-linux-gnu -march=armv8.2-a+dotprod"
	"nvidia      SIMT PTX     dp4a        -target nvptx64-nvidia-cuda"
)
nvidia="-Xclang -target-cpu -Xclang sm_75 -Xclang -target-feature -Xclang +ptx63"

# What a front end has to know to offer a path's built-in functions.
language()
{
	case $1 in
	ARM) echo "-cl-std=CL1.2 -Dcl_arm_integer_dot_product_accumulate_int8=1" ;;
	KHR) echo "-cl-std=CL3.0 -Dcl_khr_integer_dot_product=1" \
		"-D__opencl_c_integer_dot_product_input_4x8bit_packed=1" ;;
	*) echo "-cl-std=CL1.2" ;;
	esac
}

# What the host passes when it builds a file: a line a variant.
variants()
{
	case $1 in
	matmul.cl)
		# Q4_0; Q8_0, Q5_0; Q4_1; Q5_1; Q4_K; Q5_K; Q6_K; and groups of 16 with 4 bits
		printf -- '-DBITS=%s -DGROUP=%s -DSCALE_F32=%s -DMIN=%s\n' 4 32 0 0 8 32 0 0 4 32 0 1 \
			8 32 0 1 4 32 1 2 8 32 1 2 8 16 1 0 4 16 0 1
		echo "-DBITS=4 -DGROUP=32 -DSCALE_F32=0 -DMIN=0 -DEXPERTS"
		# what sherd tune varies
		echo "-DBITS=4 -DGROUP=32 -DSCALE_F32=0 -DMIN=0 -DAHEAD=256 -DTILE_RB=8 -DTILE_PAIR=1 -DTILE_TOKENS=4"
		;;
	attention.cl | rope.cl)
		# caches of halves, bytes and floats; heads that are no multiple of a vector too
		printf -- '-DKV=%s -DHEAD_DIM=%s\n' 0 64 1 80 2 12
		printf -- '-DKV=%s -DHEAD_DIM=%s -DTOKEN_QUERIES=%s\n' 0 64 4 1 80 1
		echo "-DKV=0 -DHEAD_DIM=64 -DTOKEN_QUERIES=4 -DATTEND_VECS=1 -DATTEND_QUERIES=4"
		;;
	matmul_float.cl)
		printf -- '-DELEM=%s\n' 2 3 4
		echo "-DELEM=2 -DEXPERTS"
		;;
	walk.cl)
		# walks: both widths, both groups, with and without minima, each cache
		printf -- '-DSHERD_WALK -DBITS=%s -DGROUP=%s -DSCALE_F32=%s -DMIN=%s -DKV=%s -DHEAD_DIM=%s\n' \
			4 32 0 0 0 64 8 16 1 2 1 96 4 32 0 1 2 32 4 16 1 2 0 64
		;;
	limits.cl)
		echo -DGROUP=32
		;;
	*)
		echo
		;;
	esac
}

# compile FILE MACHINE OPTIONS: through LLVM's text, because kernels' calling convention is
# SPIR's, which not every back end knows. Leaves $tmp/out: LLVM's text (SPIR) or assembly, which
# is assembled too.
compile()
{
	local file=$1 machine=$2 options=$3

	# shellcheck disable=SC2086 # machine and options are words
	"${cl[@]}" $machine $options -S -emit-llvm -o "$tmp/ll" "kernels-cl/$file" || return
	sed -E 's/\bspir_(kernel|func)\b//g' "$tmp/ll" >"$tmp/plain.ll"
	# shellcheck disable=SC2086
	case $machine in
	*spir64*)
		mv "$tmp/ll" "$tmp/out"
		;;
	*nvptx*)
		"$clang" -x ir $machine $nvidia -w -O2 -S -o "$tmp/out" "$tmp/ll" || return
		[[ -z $ptxas ]] || "$ptxas" -arch=sm_75 -c -o "$tmp/cubin" "$tmp/out"
		;;
	*)
		"$clang" -x ir $machine -w -O2 -S -o "$tmp/out" "$tmp/plain.ll" &&
			"$clang" -x assembler $machine -c -o "$tmp/o" "$tmp/out"
		;;
	esac
}

n=0
bad=0
check()
{
	local file=$1 variant=$3 name shape path instruction machine

	read -r name shape path instruction machine <<<"$2"
	[[ $file != walk.cl || $shape == WIDE ]] || return 0 # CPUs only
	n=$((n + 1))
	if ! compile "$file" "$machine" "$(language "$path") -DSHERD_SHAPE_$shape=1 \
		-DSHERD_DOT_$path=1 $variant" >"$tmp/log" 2>&1; then
		sed 's/^/# /' "$tmp/log"
	elif [[ $file == matmul.cl || $file == walk.cl && $path != AMX ]] &&
		! grep -q "$instruction" "$tmp/out"; then
		echo "# no $instruction in what was compiled"
	else
		echo "ok $n - $file for $name $variant"
		return
	fi
	bad=$((bad + 1))
	echo "not ok $n - $file for $name $variant"
}

# Compilers take seconds for each: of a file's variants the first and a third of the others, in turns of a day, and all
# where time is no matter.
in_turn()
{
	if [[ -n ${SHERD_LONG:-} ]]; then
		cat
	else
		awk -v day="$(date +%-j)" 'NR == 1 || NR % 3 == day % 3'
	fi
}

[[ $# -gt 0 ]] || set -- kernels-cl/*.cl
for f in "$@"; do
	while read -r variant; do
		for t in "${targets[@]}"; do
			check "${f##*/}" "$t" "$variant"
		done
	done < <(variants "${f##*/}" | in_turn)
done
echo "1..$n"
exit $((bad > 0))
