#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd cluster: an authority, certificates that openssl accepts, and nothing overwritten or half-written.
. "$(dirname "$0")/lib"

d=$tmp/certs
files()
{
	find "$d" -type f -printf '%f\n' | LC_ALL=C sort | tr '\n' ' '
}

sh_run cluster init -o "$d" kitchen attic
ok "init succeeds without a word on standard error" test $rc = 0 -a ! -s "$err"
ok "and says what goes where" grep -q 'to each board: *ca.pem NAME.pem NAME-key.pem' "$out"
ok "there is a pair of files for each node, the head and the authority" test "$(files)" = \
	"attic-key.pem attic.pem ca-key.pem ca.pem head-key.pem head.pem kitchen-key.pem kitchen.pem "
for k in ca attic kitchen head; do
	ok "nobody else may read $k-key.pem" test "$(stat -c %a "$d/$k-key.pem")" = 600
	ok "everybody may read $k.pem" test "$(stat -c %a "$d/$k.pem")" = 644
done
ok "the folder is the user's own" test "$(stat -c %a "$d")" = 700

sh_run cluster show "$d"
ok "show has the authority first, then the nodes by name" test \
	"$(awk 'NR > 1 { print $1 }' "$out" | sed 's/^sherd-.*/ca/' | tr '\n' ' ')" = "ca attic head kitchen "
ok "certificates of nodes are for two years" grep -qE '^kitchen .* 730 days left' "$out"
ok "the authority is for ten" grep -qE '^sherd-[0-9a-f]{8} .* 3650 days left.* authority$' "$out"
sh_run cluster show --json "$d"
ok "show --json is JSON" test "$(json 1.name)" = attic
for key in file from until days_left sha256; do
	ok "and has $key" test -n "$(json 0.$key)"
done

if command -v openssl >/dev/null; then
	for name in kitchen attic head; do
		openssl verify -x509_strict -CAfile "$d/ca.pem" "$d/$name.pem" >"$out" 2>"$err"
		rc=$?
		ok "openssl accepts $name's certificate" test $rc = 0
		ok "its name is $name" bash -c "openssl x509 -in '$d/$name.pem' -noout -ext subjectAltName |
			grep -qx ' *DNS:$name'"
	done
	for use in sslserver sslclient; do
		openssl verify -purpose $use -CAfile "$d/ca.pem" "$d/kitchen.pem" >"$out" 2>"$err"
		rc=$?
		ok "openssl accepts it as $use" test $rc = 0
	done
	openssl verify -purpose sslserver -CAfile "$d/kitchen.pem" "$d/attic.pem" >"$out" 2>"$err"
	rc=$?
	ok "a node's certificate is no authority's" test $rc != 0
	sh_run cluster show --json "$d"
	ok "the fingerprint is openssl's" test "$(json 1.sha256)" = "$(openssl x509 -in "$d/attic.pem" -noout \
		-fingerprint -sha256 | sed 's/.*=//; s/://g' | tr A-F a-f)"
	ok "it is valid from yesterday" test "$(($(date +%s) - $(date +%s -d "$(openssl x509 -noout -startdate \
		-in "$d/kitchen.pem" | cut -d= -f2)")))" -ge 86400
else
	skip "openssl accepts the certificates" "no openssl command here"
fi

before=$(cat "$d"/* | sha256sum)
refuses "an authority is never overwritten" 1 "certs: there is an authority already; .sherd cluster add. adds nodes" \
	cluster init -o "$d" cellar
refuses "a node's certificate is never overwritten" 1 "attic-key.pem: is there already" \
	cluster add -o "$d" cellar attic
refuses "a name that is there twice is refused" 1 '"cellar" is there twice' \
	cluster add -o "$d" cellar porch cellar
for name in ca x-key '' a/b ../x .x 'a b' "$(printf '%064d' 0)" ä; do
	refuses "'${name:0:12}' is no name" 1 "is no name for a node" cluster add -o "$d" "$name"
done
ok "refusals change nothing" test "$(cat "$d"/* | sha256sum)" = "$before"
sh_run cluster add -o "$d" cellar porch --days 10
ok "add makes more" test $rc = 0 -a -s "$d/porch-key.pem" -a -s "$d/cellar.pem"
sh_run cluster show "$d"
ok "for as many days as are asked for" test "$(grep -c ' 10 days left' "$out")" = 2
sh_run cluster init -o "$tmp/other" head one
ok "a head that is named is made once" test $rc = 0 -a "$(ls "$tmp/other" | wc -l)" = 6

refuses "a folder without an authority is named" 1 "there is no authority in this folder; sherd cluster init" \
	cluster add -o "$tmp" cellar
refuses "a folder that is not there is named" 1 "none: cannot open this folder" cluster add -o "$tmp/none" x
refuses "a folder without certificates is named" 1 "no certificates in this folder" cluster show "$tmp/tmp"
refuses "a folder that cannot be made is named" 1 "cannot make this folder" cluster init -o "$tmp/a/b" x
chmod 644 "$d/ca-key.pem"
refuses "an authority's key that others can read is not used" 1 "chmod 600 .*ca-key.pem" \
	cluster add -o "$d" late
chmod 600 "$d/ca-key.pem"
mv "$d/ca-key.pem" "$d/kept" && cp "$tmp/other/ca-key.pem" "$d"
refuses "a key that is another authority's is not used" 1 "is not the key of" cluster add -o "$d" late
mv "$d/kept" "$d/ca-key.pem"
echo junk >"$d/late.pem"
refuses "a file that is no certificate is named by show" 1 "late.pem: holds no certificate" cluster show "$d"
rm "$d/late.pem"

# Where the second file cannot be written, the first does not stay: no disk, as a limit on a file's size.
before=$(files)
(ulimit -f 0; exec "$sherd" cluster add -o "$d" late) 2>&1 >/dev/null | cat >"$err"
rc=${PIPESTATUS[0]}
ok "what cannot be written whole leaves nothing" test $rc = 1 -a "$(files)" = "$before" -a "$(wc -l <"$err")" = 1
mkdir "$tmp/shut" && "$sherd" cluster init -o "$tmp/shut" a >/dev/null 2>&1
for i in 1 2 3 4 5 6 7 8; do
	"$sherd" cluster add -o "$tmp/shut" same >/dev/null 2>&1 && echo made &
done >"$out"
wait
ok "of several at once one makes it" test "$(wc -l <"$out")" = 1

refuses "a node without a certificate is told whose it looks for" 1 \
	"[.]pem is not there: .* is this machine's name; --name gives another" node --shards "$tmp/shards" --tls "$d"
refuses "turns are for boards that are slowed down" 2 "is for boards that --dilate imitates" \
	node --shards "$tmp/shards" --insecure --dilate-turns "$tmp/turns"
refuses "a file for turns that cannot be made is named" 1 "/nowhere/turns: can't be opened" \
	node --shards "$tmp/shards" --insecure --dilate 2 --dilate-turns "$tmp/nowhere/turns"
refuses "an unknown way to drive sockets is a wrong line" 2 "'uring-9' is none of auto, uring-zc" \
	node --shards "$tmp/shards" --insecure --io uring-9

refuses "without a verb it says which there are" 2 "init, add or show" cluster
refuses "an unknown verb is named" 2 "'list' is none of init, add, show" cluster list
refuses "init wants a folder" 2 "wants a folder" cluster init kitchen
refuses "init wants names" 2 "wants the names" cluster init -o "$tmp/x"
refuses "show takes one folder" 2 "one argument too many" cluster show "$d" "$d"
refuses "no certificate is for ever" 2 "out of range" cluster add -o "$d" x --days 4000
"$sherd" cluster show "$d" >/dev/full 2>"$err"
rc=$?
ok "a list that cannot be written is a failure" test $rc = 1 -a "$(wc -l <"$err")" = 1
finish
