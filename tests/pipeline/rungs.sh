#!/bin/bash
# SPDX-License-Identifier: MIT
# The same text on every rung of the ladder of network back ends, where io_uring is forbidden, where little
# memory may be locked; and while strangers scan ports and hold connections open.
. "$(dirname "$0")/lib"

shards 0-3 $half
plan plan int8 '' 0-3@a "$half@b"
prompt=$(words 30)
ask=(-p "$prompt" -n 24 --temp 0.8 -s "$seed")
want int8 3 "${ask[@]}"
deny=$SHERD_BUILD/tests/pipeline/deny

both()
{
	node a "$@" && node b "$@"
}

fresh() # ARG...: both boards, anew
{
	local name

	for name in "${boards[@]}"; do
		retire "$name"
	done
	ok "boards start${1:+ with $*}" both "$@"
}

rungs=()
for io in uring-zc uring-5.19 uring epoll; do
	sh_run node --insecure --listen 127.0.0.1:bad --shards "$tmp/x" --io $io
	if [[ $io != epoll ]] && ! grep -q 'bad' "$err"; then
		skip "$io: the text is that of one process" "$io: $(tail -n 1 "$err")"
		continue
	fi
	rungs+=($io)
	fresh --io $io
	lead plan "${ask[@]}" --io $io
	ok "$io: the text is that of one process" is_wanted
	ok "  ... and $io it was" eval "grep -q 'over $io\$' '$tmp/a.log' && grep -q ' $io, ' '$err'"
done
lead plan "${ask[@]}" --io "${rungs[0]}"
ok "the two sides of a link may stand on different rungs" is_wanted
refuses "an unknown rung is refused with the known ones" 2 "none of auto, uring-zc, uring-5.19, uring and epoll" \
	run --plan "$tmp/plan" --insecure --io nosuch -p a

if [[ -x $deny ]] && "$deny" true; then
	echo "${deny@Q}" | tee "$tmp/a.before" >"$tmp/b.before"
	fresh
	ok "where io_uring is forbidden, boards take epoll by themselves" grep -q 'over epoll$' "$tmp/a.log"
	ok "  ... and say why" grep -qE 'not taken: uring: .*(forbidden|permitted|EPERM)' "$tmp/a.log"
	lead plan "${ask[@]}"
	ok "  ... and the text is that of one process" is_wanted
	retire a
	if ! node a --io uring; then
		ok "a rung that is asked for and cannot be had is a sentence" \
			grep -qE '^sherd node: .*uring.*permitted' "$tmp/a.log"
	else
		ok "a rung that is asked for and cannot be had is a sentence" false
	fi
else
	skip "where io_uring is forbidden, boards take epoll" "seccomp filters cannot be set here"
fi

# Root may lock all it likes, unless it has lost that right.
drop=()
((EUID)) || drop=(setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock)
if [[ -z ${drop[*]} ]] || "${drop[@]}" true 2>/dev/null; then
	echo "${drop[*]} prlimit --memlock=65536:65536" | tee "$tmp/a.before" >"$tmp/b.before"
	fresh
	lead plan "${ask[@]}"
	ok "where 64 KiB may be locked the text is that of one process, over $(sed -n '1s/.* over //p' "$tmp/a.log")" is_wanted
else
	skip "where 64 KiB may be locked the text is the same" "the right to lock memory cannot be given up here"
fi
rm -f "$tmp"/?.before

# ---------------------------------------------------------------- strangers

slow=$(slowly 10)
# shellcheck disable=SC2086
fresh $slow
lead plan -p The -n 2
boards_remember
at=$(home a)
port=/dev/tcp/${at/://}

# Ports are tried, garbage is sent, headers are begun and never ended, by many at once.
strangers()
{
	local i fd fds=()

	for ((i = 0; i < 60; i++)); do
		{ exec {fd}<>"$port"; } 2>/dev/null || continue
		case $((i % 5)) in
		0) ;; # says nothing
		1) printf 'GET / HTTP/1.1\r\nHost: x\r\n\r\n' >&"$fd" ;;
		2) printf 'SHRD\001\001' >&"$fd" ;; # a header, begun
		3) head -c 4096 /dev/urandom >&"$fd" ;;
		4) exec {fd}>&- && continue ;; # a port scan
		esac 2>/dev/null
		fds+=("$fd")
	done
	for ((i = 0; i < 40; i++)); do
		for fd in "${fds[@]}"; do
			printf '\0' >&"$fd" # a byte now and then
		done 2>/dev/null
		sleep 0.2
	done
}
(trap '' PIPE; strangers) >/dev/null 2>&1 &
crowd=$!
sleep 0.5
want int8 3 "${ask[@]}"
lead plan "${ask[@]}"
ok "a run among sixty strangers has the text of one process" is_wanted
lead plan "${ask[@]}"
ok "and so has the next one" is_wanted
kill $crowd 2>/dev/null
wait $crowd 2>/dev/null
boards_rest "no stranger leaves anything behind"
finish_boards
