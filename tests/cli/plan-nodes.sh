#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd plan with nodes that run: they measure themselves and their links, once; plans are verified on them; and
# whoever cannot be asked is named. Mutual TLS, plain C for a device: nothing is compiled.
. "$(dirname "$0")/lib"

pids=()
end_nodes()
{
	((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null
	wait
	rm -rf "$tmp"
}
trap end_nodes EXIT
"$sherd" cluster init -o "$tmp/certs" a b >/dev/null

# node NAME: starts it; its address is in $address.
node()
{
	"$sherd" node --listen 127.0.0.1:0 --name "$1" --shards "$tmp/$1" --tls "$tmp/certs" \
		--device reference -t 1 >/dev/null 2>"$tmp/$1.log" &
	pids+=($!)
	for _ in {1..300}; do
		address=$(sed -n 's/.* listens at \([0-9.:]*\),.*/\1/p' "$tmp/$1.log" 2>/dev/null)
		[[ -z $address ]] || return 0
		sleep 0.1
	done
	return 1
}
ok "a node starts" node a
a=$address
ok "and another" node b
b=$address
cluster() # [MORE]: a file of both
{
	cat >"$tmp/cluster.json" <<-JSON
	{ "nodes": [ { "name": "a", "address": "$a" }, { "name": "b", "address": "$b" } ] $* }
	JSON
}
plan=(plan -m "$model" --cluster "$tmp/cluster.json" --tls "$tmp/certs" --seconds 0.1
	--prompt-tokens 24)
profiles() # what the nodes keep, and since when
{
	stat -c '%n %Y %i' "$tmp"/[ab]/.profile-*.json 2>/dev/null
}
not()
{
	! "$@"
}

cluster
sh_run "${plan[@]}" -o "$tmp/plan.json"
ok "nodes without a profile are asked for it" test $rc = 0
ok "and the plan stands on two of them" test "$(grep -cE '^[ab] +[0-9]+-[0-9]+ ' "$out")" = 2
ok "all links are measured, also those from here" test "$(grep -cE '^link: .* [0-9.e+]+ Mbit/s, round' "$out")" = 3
ok "nothing is remarked of links" not grep -q 'does not describe' "$err"
ok "layers were sent under a name that says what for" test "$(ls "$tmp"/[ab]/probe-*.gguf | wc -l)" = 2
kept=$(profiles)
ok "each keeps what it has found" test "$(wc -l <<<"$kept")" = 2
sh_run "${plan[@]}" --json
ok "and answers with it the next time" test $rc = 0 -a "$(profiles)" = "$kept"
ok "--json has the links" test "$(json links.0.measured)" = true
ok "and what memory the nodes have now" test "$(json memory.0.allowed)" -gt 1000000
sh_run "${plan[@]}" --kv f32
ok "another question is measured" test $rc = 0 -a "$(profiles | wc -l)" = 4
rm "$tmp"/[ab]/.profile-*
sh_run "${plan[@]}"
kept=$(profiles)
sleep 1
sh_run "${plan[@]}" --remeasure
ok "--remeasure measures anew" test $rc = 0 -a "$(profiles | wc -l)" = 2 -a "$(profiles)" != "$kept"
first=$(ls "$tmp"/a/.profile-*)
echo '{}' >"$first"
sh_run "${plan[@]}"
ok "what is kept and is no profile any more is measured again" test $rc = 0 -a "$(wc -c <"$first")" -gt 300

cluster ', "links": [ { "from": "a", "to": "b", "mbit": 90, "rtt_us": 3000 } ]'
sh_run "${plan[@]}"
ok "links that the file describes are not measured" test $rc = 0 -a "$(grep -c '^link: head' "$out")" = 2 -a \
	"$(grep -c '^link:' "$out")" = 2
cluster ', "default_link": { "mbit": 1000, "rtt_us": 100 }'
sh_run "${plan[@]}"
ok "nor any where it has a default" test $rc = 0 -a "$(grep -c '^link:' "$out")" = 0
cluster

"$sherd" push "$tmp/plan.json" -m "$model" --tls "$tmp/certs" >/dev/null 2>"$err"
rc=$?
ok "the plan's shards are pushed" test $rc = 0
verify=(plan --verify "$tmp/plan.json" --tls "$tmp/certs")
sh_run "${verify[@]}" --repetitions 2
ok "a plan is verified" test $rc = 0
ok "with a line for each stage" test "$(grep -cE '^[ab] +chunk ms +[0-9.]+ +[0-9.]+ +[0-9.]+ - [0-9.]+ +[-+]' "$out")" = 2
sh_run "${verify[@]}" --repetitions 2 --json
numbers=$(for k in first_token_ms.{predicted,low,measured,high} stages.{0.chunk_ms,1.token_ms}.measured; do
	json $k; done | tr '\n' ' ')
ok "--json says what was predicted, measured, and how far that spreads" awk -v n="$numbers" 'BEGIN {
	exit !(split(n, v) == 6 && v[1] > 0 && v[2] > 0 && v[2] <= v[3] && v[3] <= v[4] && v[5] > 0 && v[6] > 0) }'
sh_run "${plan[@]}" --objective throughput --sessions 3 -n 8 -o "$tmp/three.json"
"$sherd" push "$tmp/three.json" -m "$model" --tls "$tmp/certs" >/dev/null 2>"$err"
sh_run plan --verify "$tmp/three.json" --tls "$tmp/certs" --repetitions 1 --json
ok "a plan for many sessions is verified with that many" test $rc = 0 -a "$(json sessions)" = 3
tr -d '\n' <"$tmp/plan.json" | sed 's/, *"predicted": *{.*/}/' >"$tmp/mute.json"
refuses "a plan that predicts nothing cannot be verified" 1 "does not say what it predicts" \
	plan --verify "$tmp/mute.json" --tls "$tmp/certs"
refuses "--verify takes no model" 2 "model and nodes are in it" "${verify[@]}" -m "$model"

# Who measures, measures one thing.
"$sherd" "${plan[@]}" --remeasure --seconds 60 >/dev/null 2>&1 &
pid=$!
sleep 2
refuses "a second profile is refused while one is measured" 1 'node "[ab]" at .* measuring itself for .* ask again' \
	"${plan[@]}" --remeasure
kill -INT $pid
wait $pid
sleep 0.5
sh_run "${plan[@]}"
ok "who is gone needs no profile: the node is free again" test $rc = 0

"$sherd" "${verify[@]}" --repetitions 1000 >/dev/null 2>&1 &
pid=$!
for _ in {1..100}; do
	sh_run status "$a" --tls "$tmp/certs"
	grep -q ready "$out" && break
	sleep 0.1
done
refuses "a node that serves a run is not measured" 1 'serves a run; measure when it has ended' "${plan[@]}"
kill $pid
wait $pid 2>/dev/null
for _ in {1..300}; do # its lease
	sh_run status "$a" --tls "$tmp/certs"
	grep -q ', 0 runs' "$out" && break
	sleep 0.1
done
ok "when the run is gone, it is free again" grep -q ', 0 runs' "$out"

kill "${pids[1]}"
wait "${pids[1]}" 2>/dev/null
rc=$?
ok "a node that is told to ends" test $rc = 0
unset 'pids[1]'
refuses "a node that is not running is named" 1 'node "b" at 127.0.0.1:[0-9]*: .*; is .sherd node. running there' \
	"${plan[@]}" -o "$tmp/none.json"
ok "and there is no plan" test ! -e "$tmp/none.json"
ok "no node has complained of memory" not grep -qE 'Sanitizer|runtime error' "$tmp"/[ab].log
finish
