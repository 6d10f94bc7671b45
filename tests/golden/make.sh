#!/bin/sh
# SPDX-License-Identifier: MIT
#
# make.sh: makes the golden files anew (`make golden`). Needs Python 3.11 and PyPI, a few GiB for
# torch in $VENV (default: build/golden-venv), and a minute; what it writes beside itself is
# committed, so that no test needs Python. The same versions on the same CPU family give the same
# files byte for byte; elsewhere the logits' last bits may differ, which the tests' tolerance
# covers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${VENV:-$here/../../build/golden-venv}

if ! "$venv/bin/python" -c 'import torch, transformers, gguf' 2>/dev/null; then
	python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --requirement "$here/requirements.txt"
fi
"$venv/bin/python" "$here/models.py" "$here"
"$venv/bin/python" "$here/hf_models.py" "$here/hf"
"$venv/bin/python" "$here/hf_tokenizers.py" "$here/tok"
"$venv/bin/python" "$here/quant_blocks.py" >"$here/quant_blocks.h"
"$venv/bin/python" "$here/templates.py" "$here/templates" "$here/../../runtime/chat/templates"
du -ch "$here"/*.gguf "$here"/*.gold "$here"/templates/*.gold "$here"/*.h | tail -1
