#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd doctor, and what --region does: whatever this machine grants, both say what and why.
. "$(dirname "$0")/lib"

sh_run doctor
ok "doctor succeeds, whatever it finds" test $rc = 0 -a ! -s "$err"
for part in 'hold a shard' 'hold a ring' 'Limits' 'OpenCL devices read' 'DRM render nodes'; do
	ok "doctor has a part that says: $part" grep -q "$part" "$out"
done
ok "a plain mapping always works, and needs no word more" grep -qE '^  yes  plain ' "$out"
ok "every line that says no says why" bash -c "! grep -E '^  no ' '$out' | grep -qvE '^  no   .+  +[^ ].{10}'"
sh_run doctor --json
ok "doctor --json is JSON" test "$(json weights.3.name)" = plain
for part in weights ring limits opencl drm; do
	ok "and has lists of names and texts: $part" test -n "$(json $part.0.name)" -a -n "$(json $part.0.text)"
done
refuses "doctor takes no argument" 2 "one argument too many" doctor now
"$sherd" doctor >/dev/full 2>"$err"
rc=$?
ok "a report that cannot be written is a failure" test $rc = 1 -a "$(wc -l <"$err")" = 1
ok "doctor leaves nothing behind" bash -c "! ls '$XDG_CACHE_HOME'/sherd/sample-* 2>/dev/null"

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
