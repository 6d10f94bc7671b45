#!/bin/bash
# SPDX-License-Identifier: MIT
# Shards go to boards that have none, over links that break, to boards that die and to disks that fill up.
. "$(dirname "$0")/lib"

if [[ ! -x $proxy ]]; then
	echo "skipped: tests/net/bin/proxy is not built"
	exit 77
fi
use_model "$big_model" # two megabytes for each
shards 0-3 # for its hash
mkdir "$tmp/a" "$tmp/b"
node a
node b
plan plan int8 '' 0-3@a "$half@b"
proxied=b
plan slow int8 '' 0-3@a "$half@b"
ask=(-p "The lock" -n 16 --temp 0)
want int8 3 "${ask[@]}"
boards_remember

push() # PLAN ARG...
{
	timeout 120 "$sherd" push "$tmp/$1" --insecure "${@:2}" >"$out" 2>"$err" </dev/null
	rc=$?
}
one_file() # NAME: a shard, and nothing unfinished
{
	[[ $(find "$tmp/$1/" -type f | wc -l) == 1 && $(find "$tmp/$1/" -name '[!.]*.gguf' -type f | wc -l) == 1 ]]
}

push plan
ok "boards without shards are brought what they need" eval "test $rc = 0 && one_file a && one_file b"
lead plan "${ask[@]}"
ok "  ... and then have the text of one process" is_wanted
push plan
ok "what they have is not sent again" eval "test $rc = 0 -a $(grep -c 'has all that it needs' "$out") = 2"

# begin_push: over a slow link, in the background, until a third of it is there.
part_of_b()
{
	find "$tmp/b/" -name '.*.part' -size +500k | grep -q .
}
begin_push()
{
	rm -f "$tmp"/b/* "$tmp"/b/.*.part
	go_between b there piece=16384 pause_us=40000
	"$sherd" push "$tmp/slow" --insecure >"$out" 2>"$err" </dev/null &
	pushing=$!
	wait_until 60 part_of_b
}
end_push()
{
	wait $pushing
	rc=$?
}

begin_push
go_between b # everything is reset, and fast again
end_push
[[ $rc == 0 ]] || push slow
ok "a link that breaks on the way is made anew" eval "test $rc = 0 && one_file b"
begin_push
strike b KILL
go_between b
node b
end_push
[[ $rc == 0 ]] || push slow
ok "a board that dies on the way has the whole in the end" eval "test $rc = 0 && one_file b"
sh_run pack "$model" -o "$tmp/packed" --layers 3-$((layers - 1))
ok "  ... the one that pack makes" cmp "$tmp/packed" "$tmp"/b/*.gguf
begin_push
kill -KILL $pushing
wait $pushing 2>/dev/null
part=$(find "$tmp/b/" -name '.*.part')
ok "who pushes may die, too: half a shard is no shard" test -n "$part" -a -z "$(find "$tmp/b/" -name '[!.]*' -type f)"
printf 'damage' | dd of="$part" bs=1 seek=100000 conv=notrunc status=none
go_between b
push slow
[[ $rc == 0 ]] || push slow
lead slow "${ask[@]}"
ok "a half that was damaged on disk is noticed, and sent anew: the text is that of one process" is_wanted

if ((EUID)) || ! mkdir "$tmp/disk" || ! mount -t tmpfs -o size=900k none "$tmp/disk" 2>/dev/null; then
	skip "a full disk is a sentence" "a small disk takes root"
else
	at_exit()
	{
		umount -l "$tmp/disk"
	}
	retire b
	rm -r "${tmp:?}/b"
	ln -s disk "$tmp/b"
	node b
	push slow
	ok "a disk without room is refused before anything is sent, with the numbers" eval "test $rc = 1 && tail -n 1 '$err' |
		grep -qE '^sherd push: b: .*: [0-9.]+ [KM]iB are needed and [0-9.]+ [KM]iB are free'"
	mount -o remount,size=2300k "$tmp/disk"
	begin_push
	head -c 2M /dev/zero >"$tmp/disk/full" 2>/dev/null
	end_push
	ok "a disk that fills up on the way is a sentence" eval "test $rc = 1 && tail -n 1 '$err' |
		grep -qE '^sherd push: b: .*(No space left|room|free)'"
	rm "$tmp/disk/full"
	go_between b
	push slow
	ok "and when there is room again, the rest is brought" test $rc = 0
	lead slow "${ask[@]}"
	ok "  ... and the text is that of one process" is_wanted
fi
boards_rest "no board has anything left of it"
finish_boards
