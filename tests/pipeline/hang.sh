#!/bin/bash
# SPDX-License-Identifier: MIT
# A device hangs, and nobody else could have its layers: whoever asks is told, and the node ends, so that what starts
# it again can give it another try.
. "$(dirname "$0")/lib"

# shellcheck disable=SC2034
patience=150
shards 0-3 $half
slow=$(slowly 15)
# shellcheck disable=SC2086
ok "board a starts" node a $slow
# shellcheck disable=SC2086
ok "board b starts, whose device is to hang" node b $slow --hang-after 20
plan plan int8 '' 0-3@a "$half@b"
ask=(-p The -n 40 --temp 0)
want int8 3 "${ask[@]}"

hangs="^ +2  3-$((layers - 1)) +hangs "
hangs_in_status()
{
	"$sherd" status --plan "$tmp/plan" --insecure >"$tmp/status" 2>/dev/null </dev/null
	grep -qE "$hangs" "$tmp/status"
}
# Its next life has no such device.
comeback()
{
	echo "$slow" >"$tmp/b.args"
	start b
}
struck plan 10 'wait_until 60 hangs_in_status; strike b KILL; comeback' "${ask[@]}" --deadline 100
ok "status says of a stage whose step is overdue that it hangs" grep -qE "$hangs" "$tmp/status"
ok "a board that is started again for it goes on with the text" is_wanted

retire b
# shellcheck disable=SC2086
node b $slow --hang-after 20
lead plan "${ask[@]}" --deadline 4
ok "a run on it fails in time, with what there is of the text" fails_with "."

sh_run status "$(address b)" --insecure
ok "status says that a step never ends, although no run is left" grep -qE \
	"^ layers 3-$((layers - 1)): a step has been running for [0-9.]+ s, and was due after [0-9.]+$" "$out"
read_metrics b >"$out"
ok "and so do the metrics" grep -qE '^sherd_step_overdue_seconds\{node="b"\} [1-9]' "$out"
read_metrics a >"$out"
ok "  ... of this board alone" grep -qxF 'sherd_step_overdue_seconds{node="a"} 0' <(tr -d '\r' <"$out")
: >"$want"
lead plan "${ask[@]}" --deadline 4
ok "the next run is told why nobody can serve its layers" fails_with \
	"nobody can serve layers 3 to .: b: layers 3 to .: a step has been running for [0-9.]+ s, .*hang"
strike b TERM
wait_until 60 eval '! alive b'
ok "who is told to end does not wait for the device" eval '! alive b'

# As systemd does it.
# The node is the child of a shell that keeps its exit code.
printf '%q ' bash -c "\"\$@\"; echo \$? >${tmp@Q}/b.rc" b >"$tmp/b.before"
# shellcheck disable=SC2086
node b $slow --hang-after 20 --step-limit 1
rm "$tmp/b.before"
want int8 3 "${ask[@]}"
struck plan 10 "(wait_until 100 eval '! alive b'; comeback) >/dev/null 2>&1 &" "${ask[@]}" --deadline 100
ok "a board that ends by itself, and is started again, goes on with the text, too" is_wanted
ok "it has failed" test "$(<"$tmp/b.rc")" = 1
ok "and said why, once" test "$(grep -cE '^sherd node: layers 3 to .: a step has been running for .*hang' "$tmp/b.past")" = 1
boards_rest "no board has anything left of it"
finish_boards
