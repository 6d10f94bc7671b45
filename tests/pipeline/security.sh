#!/bin/bash
# SPDX-License-Identifier: MIT
# Pipelines with TLS: the same text; and who is not let in, and what that one is told.
. "$(dirname "$0")/lib"

shards 0-3 $half
sh_run cluster init -o "$tmp/certs" a b c d
ok "certificates are made" test $rc = 0
secure=(--tls "$tmp/certs")
for name in a b; do
	ok "board $name starts, with TLS" eval "node $name && grep -q 'with TLS' '$tmp/$name.log'"
done
plan plan int8 '' 0-3@a "$half@b"
ask=(-p "$(words 20)" -n 24 --temp 0.8 -s "$seed")
want int8 3 "${ask[@]}"
lead plan "${ask[@]}"
ok "with TLS the text is that of one process" is_wanted
cp "$want" "$tmp/right"
: >"$want"
boards_remember

# turned_away "what" PATTERN: with whatever $secure is
turned_away()
{
	sleep 1.5 # logs have a line a second
	lead plan "${ask[@]}" --deadline 3
	ok "$1" fails_with "$2"
	secure=(--tls "$tmp/certs")
}

secure=(--insecure)
turned_away "a head without TLS is told that there is TLS" "a: .*(TLS|certificate)"
ok "which board a has in its log" grep -qE "a link is refused: 127[0-9.:]*: .*(TLS|certificate)" "$tmp/a.log"

"$sherd" cluster init -o "$tmp/other" a b >/dev/null 2>&1
secure=(--tls "$tmp/other")
began=${EPOCHREALTIME/./}
turned_away "a head of another authority is told so" "[ab]: .*(authority|certificate)"
ok "at once" test $((${EPOCHREALTIME/./} - began)) -lt 3500000
ok "and the boards have it in their logs" grep -q "a link is refused: .*\(not accept us\|authority\)" "$tmp/a.log"

# The head's certificate is a node's.
mkdir "$tmp/node_s"
cp "$tmp/certs/ca.pem" "$tmp/node_s/"
cp "$tmp/certs/d.pem" "$tmp/node_s/head.pem"
cp "$tmp/certs/d-key.pem" "$tmp/node_s/head-key.pem"
secure=(--tls "$tmp/node_s")
turned_away "a node's certificate commands nobody" "the certificate is that of 'd', and only 'head' may command [ab]"
ok "which is in the log, too" grep -q "a link is refused: .*the certificate is that of 'd'" "$tmp/a.log" "$tmp/b.log"
ok "logs have the run that began and ended" eval \
	"grep -q '^sherd: a run begins, of 127' '$tmp/a.log' && grep -q '^sherd: a run has ended, after' '$tmp/a.log'"

# What the authority signed has expired. Its extensions are those of a good one.
expire() # NAME: certs/NAME.pem becomes old
{
	local d=$tmp/ca

	rm -rf "$d"
	mkdir -p "$d"
	: >"$d/index.txt"
	cat >"$d/conf" <<-END
		[ca]
		default_ca = x
		[x]
		database = $d/index.txt
		new_certs_dir = $d
		rand_serial = yes
		default_md = sha256
		policy = p
		unique_subject = no
		x509_extensions = e
		[p]
		commonName = supplied
		[e]
		basicConstraints = critical,CA:FALSE
		keyUsage = critical,digitalSignature
		extendedKeyUsage = serverAuth,clientAuth
		subjectAltName = DNS:$1
		subjectKeyIdentifier = hash
		authorityKeyIdentifier = keyid
	END
	openssl req -new -key "$tmp/certs/$1-key.pem" -subj "/CN=$1" -out "$d/req" 2>"$err" &&
		openssl ca -batch -notext -config "$d/conf" -cert "$tmp/certs/ca.pem" -keyfile "$tmp/certs/ca-key.pem" \
			-in "$d/req" -out "$d/$1.pem" -startdate "${2}0101000000Z" -enddate "${3}0201000000Z" \
			2>"$err" >"$out" && cp "$d/$1.pem" "$tmp/certs/$1.pem"
}
if command -v openssl >/dev/null; then
	cp "$tmp/certs/b.pem" "$tmp/b.pem"
	expire b 2020 2040
	retire b
	ok "a certificate that openssl made is one" node b
	cp "$tmp/right" "$want"
	lead plan "${ask[@]}"
	ok "and serves" is_wanted
	: >"$want"
	expire b 2020 2021
	retire b
	if node b; then
		turned_away "a board whose certificate has expired is not believed" "b: .*expired"
	else
		cp "$tmp/b.log" "$err"
		ok "a board whose certificate has expired does not start, and says why" grep -q expired "$err"
	fi
	cp "$tmp/b.pem" "$tmp/certs/b.pem"
	cp "$tmp/certs/head.pem" "$tmp/head.pem"
	expire head 2020 2021
	turned_away "a head whose certificate has expired is told so" "expired"
	cp "$tmp/head.pem" "$tmp/certs/head.pem"
else
	skip "an expired certificate is refused" "no openssl command here"
fi

# Somebody with a certificate of the authority's stands where b should be.
retire b
at_b=$(home b)
(
	exec "$sherd" node "${secure[@]}" --listen "$at_b" --name c --shards "$tmp/b" --device reference
) >"$tmp/impostor.log" 2>&1 </dev/null &
impostor=$!
wait_until 10 grep -q listens "$tmp/impostor.log"
turned_away "a board that the authority knows, but the plan does not, takes nobody's place" "b: .*'c'|b: .*certificate"
kill $impostor
wait $impostor 2>/dev/null

# And one without any TLS.
(
	exec "$sherd" node --insecure --listen "$at_b" --name b --shards "$tmp/b" --device reference
) >"$tmp/impostor.log" 2>&1 </dev/null &
impostor=$!
wait_until 10 grep -q listens "$tmp/impostor.log"
turned_away "a board without TLS is not spoken to" "b: .*(TLS|hung up|reset)"
kill $impostor
wait $impostor 2>/dev/null

node b
cp "$tmp/right" "$want"
lead plan "${ask[@]}"
ok "after all that the text is that of one process" is_wanted
slow=$(slowly 15)
for name in a b; do
	retire $name
	# shellcheck disable=SC2086
	node $name $slow
done
node c
plan spared int8 c 0-3@a "$half@b"
struck spared 10 "strike b KILL" "${ask[@]}"
ok "with TLS, too, a spare goes on with the text" is_wanted
node b
boards_rest "no board has anything left of it"
finish_boards
