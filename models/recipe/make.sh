#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make.sh: from nothing to the files in models/. Needs Debian 12 with linux-doc-6.1, python3-torch and
# python3-sentencepiece, gguf from PyPI, and llama.cpp's llama-quantize (LLAMA_QUANTIZE=path).
# Training takes 80 minutes on one thread and is bound by time, not by steps: another machine gets
# another, equally small model.
#
# With GGUF=kdoc-5m-f16.gguf only the last step runs: the committed files come out byte for byte.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
quantize=${LLAMA_QUANTIZE:-llama-quantize}

if [ -z "${GGUF:-}" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	cd "$work"
	python3 "$here/corpus.py"
	T=${T:-1} BUDGET=${BUDGET:-4800} python3 "$here/train.py"
	python3 "$here/export.py"
	GGUF=$work/kdoc-5m/kdoc-5m-f16.gguf
fi
for type in Q8_0 Q4_0; do
	"$quantize" --pure "$GGUF" "$here/../kdoc-5m-$type.gguf" "$type"
done
