#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd plan: the same table for the same cluster, files that are read again, and a sentence for each fault.
. "$(dirname "$0")/lib"
here=tests/cli/plan
cluster=$here/cluster.json

plan() # ARG...: of a cluster in which nobody is asked
{
	sh_run plan --offline "$@"
}

# The profile in here is of this very model, which its hash says.
for objective in latency throughput; do
	sessions=1
	[[ $objective == latency ]] || sessions=6
	plan -m "$model" --cluster $cluster --objective $objective --sessions $sessions \
		-o "$tmp/$objective.json"
	diff $here/$objective.txt "$out" | sed 's/^/# /'
	ok "the table for $objective is the one that is expected" same "$out" $here/$objective.txt
	ok "nothing is remarked, since all links are described" test ! -s "$err"
done
plan -m "$model" --cluster $cluster --json
ok "--json has the plan, and of each board without a stage why" test \
	"$(json plan.stages.0.first) $(json exact) $(json left_out.2.node)" = "0 true shed"
ok "and what memory is spent on" test "$(json memory.0.allowed)" -ge "$(json memory.0.memory)"
cp "$out" "$tmp/latency"
plan "$model" --cluster $cluster --json
ok "the model may be an argument" same "$out" "$tmp/latency"
"$SHERD_BUILD/tests/cli/json" stages.1.end <"$tmp/latency.json" >"$out"
ok "-o writes a plan, whose stages end with the last layer" grep -qx 6 "$out"
plan -m "$model" --cluster $cluster --no-spares
ok "--no-spares makes no spares" bash -c "test $rc = 0 && ! grep -q ^spare: '$out'"
plan -m "$model" --cluster $cluster --objective latency -n 200 -c 256 --prompt-tokens 8
ok "for many tokens of one session, one board is best" bash -c "grep -qE '^kitchen +0-5 ' '$out'"

sed '/default_link/d; s/400 } \],/400 } ]/' $cluster >"$tmp/nolink.json"
sed -i "s|board.json|$PWD/$here/board.json|" "$tmp/nolink.json"
plan -m "$model" --cluster "$tmp/nolink.json"
ok "links that nobody described are remarked" \
	bash -c "test $rc = 0 && grep -q 'does not describe 2 of the links' '$err'"

edit() # SED-EXPRESSION: a cluster with it, its profile beside it
{
	mkdir -p "$tmp/edit"
	cp $here/board.json "$tmp/edit/"
	sed "$1" $cluster >"$tmp/edit/cluster.json"
}
spare() # MEMORY: what attic stands in for with that much
{
	edit "/attic/s/1GiB/$1/"
	plan -m "$model" --cluster "$tmp/edit/cluster.json" -o "$tmp/spare.json"
	grep ^spare: "$out"
	cp "$tmp/spare.json" "$out"
}
ok "a spare with room for either of two stages is one of them" test \
	"$(spare 263MiB)" = "spare: attic can take the place of hall"
spare 263MiB >/dev/null
ok "and takes what its plan says" test "$(json nodes.attic.memory_bytes)" -lt $((263 << 20))
spare 265MiB >"$err"
ok "with room for both it stands in for both" grep -qx "spare: attic can take the place of kitchen, hall" "$err"
ok "and takes as much as both, with the reserve once" test "$(json nodes.attic.memory_bytes)" = \
	$(($(json nodes.kitchen.memory_bytes) + $(json nodes.hall.memory_bytes) - (256 << 20)))

bad() # SENTENCE PATTERN SED-EXPRESSION
{
	edit "$3"
	refuses "$1" 1 "$2" plan --offline -m "$model" --cluster "$tmp/edit/cluster.json" -o "$tmp/bad.json"
}
bad "a node that is there twice is refused" 'nodes\[1\]: there is a node "kitchen" already' 's/"hall", "a/"kitchen", "a/'
bad "so is an address that two have" 'has the address 10.0.0.2:7433 of node "kitchen"' 's/0.3:/0.2:/'
bad "so is a memory of nothing" 'nodes\[0\].memory: a memory of "0GiB"' 's/2GiB/0GiB/'
bad "so is a memory that no board has" 'nodes\[0\].memory: 64.00 GiB are more than the 4.00' 's/2GiB/64GiB/'
bad "so is an address without a port" 'nodes\[0\].address: "10.0.0.2"' 's/0.2:7433/0.2/'
bad "so is a link that is slower than nothing" 'links\[0\].mbit: is -100' 's/"mbit": 100,/"mbit": -100,/'
bad "so is a link to nobody" 'there is no node "garden"' 's/"to": "hall"/"to": "garden"/'
bad "a mistyped key is answered with the nearest" 'did you mean "profile"' 's/"profile"/"profil"/'
bad "a profile that is not there is named" 'nodes\[0\].profile: .*nosuch.json: cannot open' 's/board.json/nosuch.json/'
bad "a text is no cluster" 'is not JSON: line 1' '1s/{/# boards/'
bad "boards without any profile are told how to get one" 'no node has a profile: run sherd plan --measure' \
	's/, "profile": "board.json"//'
edit ''
sed -i 's/8a2973d1/01234567/' "$tmp/edit/board.json"
refuses "a profile of another model is refused with both" 1 \
	'node "kitchen": its profile is of another model \(kdoc-5m, 01234567, not 8a2973d1\)' \
	plan --offline -m "$model" --cluster "$tmp/edit/cluster.json"
refuses "a width that was not measured is asked for" 1 'no measurement at "4" bits.*--bits 4' \
	plan --offline -m "$model" --cluster $cluster --bits 4
refuses "boards that are too small are refused with layers and numbers" 1 \
	"the nodes' memory holds none of the layers: layers 0 to 5 take .* MiB more" \
	plan --offline -m "$model" --cluster $cluster --reserve 3000
refuses "a request that the context does not hold is refused" 1 "250 and 50 tokens .* context of 256" \
	plan --offline -m "$model" --cluster $cluster --prompt-tokens 250 -n 50
ok "a refused plan leaves no file" test ! -e "$tmp/bad.json"
refuses "a plan needs boards" 2 "which boards" plan -m "$model"
refuses "an unknown objective is answered with those there are" 2 "none of latency, throughput" \
	plan --offline -m "$model" --cluster $cluster --objective fun
refuses "an unknown wire is, too" 2 "none of int8, f16, f32" plan -m "$model" --cluster $cluster --wire f64
refuses "--measure is about one machine" 2 "about this machine" plan -m "$model" --measure --cluster $cluster
refuses "a profile needs a file" 2 "where to" plan -m "$model" --measure
refuses "a model that is not there is named" 1 nosuch plan -m "$tmp/nosuch" --cluster $cluster
refuses "a folder that is not there is named" 1 nowhere plan --offline -m "$model" \
	--cluster $cluster -o "$tmp/nowhere/p"

sh_run plan --measure -m "$model" -o "$tmp/board.json" --seconds 0.5 --device reference
ok "a machine measures itself" test $rc = 0 -a -s "$tmp/board.json" -a ! -s "$out"
cp "$tmp/board.json" "$out"
ok "every layer has a time" test "$(json bits.file.kinds.0.layers)" = "[[0,6]]"
ok "that grows with the tokens" awk "BEGIN {
	exit !($(json bits.file.kinds.0.us.0.1) < $(json bits.file.kinds.0.us.5.1)) }"
ok "and the model is known by its hash" test "$(json model.hash | head -c 8)" = 8a2973d1
cat >"$tmp/own.json" <<'JSON'
{ "nodes": [ { "name": "a", "address": "127.0.0.1:1", "profile": "board.json" },
             { "name": "b", "address": "127.0.0.1:2", "profile": "board.json" } ],
  "default_link": { "mbit": 10000, "rtt_us": 50 } }
JSON
sh_run plan -m "$model" --cluster "$tmp/own.json"
# Whether two share the model depends on how busy this machine was.
ok "of boards as this one a plan is made" bash -c "test $rc = 0 && grep -qE '^[ab] +0-[1-5] ' '$out'"
"$sherd" plan --offline -m "$model" --cluster $cluster >/dev/full 2>"$err"
rc=$?
ok "a table that cannot be written is a failure" bash -c "test $rc = 1 && grep -q 'No space' '$err'"
finish
