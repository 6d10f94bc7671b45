#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd doctor, and what --region does: whatever this machine grants, both say what and why.
. "$(dirname "$0")/lib"

sh_run doctor --quick
ok "doctor succeeds, whatever it finds" test $rc = 0 -a ! -s "$err"
for part in 'hold a shard' 'hold a ring' 'Limits' 'OpenCL devices: their kernels' 'DRM render nodes'; do
	ok "doctor has a part that says: $part" grep -q "$part" "$out"
done
ok "a plain mapping always works, and needs no word more" grep -qE '^  yes  plain ' "$out"
ok "every line that says no says why" bash -c "! grep -E '^  no ' '$out' | grep -qvE '^  no   .+  +[^ ].{10}'"
ok "--quick compiles nothing" bash -c "! grep -q 'kernels give' '$out'"
# Compiling and testing takes the plain build a third of the time.
"${SHERD_PLAIN:-$sherd}" doctor --json >"$out" 2>"$err" </dev/null
rc=$?
ok "doctor --json is JSON" test "$(json weights.3.name)" = plain
for part in weights ring limits opencl drm; do
	ok "and has lists of names and texts: $part" test -n "$(json $part.0.name)" -a -n "$(json $part.0.text)"
done
ok "a device has a name in JSON, and what was tried" test -n "$(json opencl.0.device)" -a "$(json opencl.0.of)" = kernels \
	-a "$(json opencl.2.of)" = weights
ok "and its driver's version" test "$(json opencl.0.name)" = driver -a -n "$(json opencl.0.text)"
ok "its kernels give the reference's bits" test "$(json opencl.1.finding)" = yes \
	-a "$(json opencl.1.text | cut -d, -f1)" = "the kernels give the reference's bits"
refuses "a model that is not there is named" 1 "nowhere.gguf" doctor -m /nowhere.gguf
sh_run doctor --quick -m "$model"
ok "with a model that fits doctor says the same" bash -c "test $rc = 0 && grep -qE '^  yes  plain ' '$out'"
refuses "doctor takes no argument" 2 "one argument too many" doctor now
"$sherd" doctor --quick >/dev/full 2>"$err"
rc=$?
ok "a report that cannot be written is a failure" test $rc = 1 -a "$(wc -l <"$err")" = 1
ok "doctor leaves nothing behind" bash -c "! ls '$XDG_CACHE_HOME'/sherd/sample-* 2>/dev/null"

# A GPU that imports, played by the CPU's device; it is preloaded, before which no sanitizer may stand.
fake=${SHERD_BUILD_PLAIN:-build}/tests/region/libfakecl.so
if [[ -e $fake && -x ${SHERD_PLAIN:-$sherd} ]]; then
	LD_PRELOAD=$fake SHERD_FAKE_CL=khr,arm-host "${SHERD_PLAIN:-$sherd}" doctor --quick >"$out" 2>"$err" </dev/null
	ok "a GPU that imports reads weights and shares a ring, tried in a child process" \
		test "$(grep -cE '^  yes  (dma-buf|host pointer) .* Fake GPU takes this' "$out")" -ge 2
	[[ -e /dev/sherd || -e /dev/udmabuf ]] ||
		ok "without dma-bufs the host's pages are imported, and the better way is refused with the reason" \
			test "$(grep -c '^  yes  host pointer (cl_arm_import_memory)  Fake GPU takes this' "$out") $(
			)$(grep -c '^  no   dma-buf (cl_khr_external_memory_dma_buf)  there are no dma-bufs' "$out")" = "2 2"
else
	skip "a GPU that imports reads weights and shares a ring" "no $fake"
fi

sh_run run -m "$model" -n 8 --temp 0 -v --device reference
cp "$out" "$tmp/want"
ok "run -v says what holds the weights" grep -q '^sherd: weights are .*; the device reads them: in place' "$err"
[[ -e /dev/sherd ]] || ok "and why nothing better does" grep -q '^sherd: not taken: sherd: there is no /dev/sherd' "$err"
for r in auto plain; do
	sh_run run -m "$model" -n 8 --temp 0 --device reference --region $r
	ok "the text is the same with --region $r" same "$out" "$tmp/want"
done
refuses "an unknown region is named, and so are those that are there" 1 \
	"region \"shred\" is none of auto, sherd, udmabuf, locked and plain" \
	run -m "$model" -n 1 --device reference --region shred
[[ -e /dev/sherd ]] || refuses "a region that cannot be had is refused with what helps" 1 \
	"modprobe sherd" run -m "$model" -n 1 --device reference --region sherd
refuses "a file is nothing for udmabuf" 1 "takes memfds only" \
	run -m "$model" -n 1 --device reference --region udmabuf
finish
