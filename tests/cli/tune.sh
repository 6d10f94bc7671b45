#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd tune: variants are measured, bad ones refused, and the file is used; how fast is no matter here.
. "$(dirname "$0")/lib"

export XDG_CONFIG_HOME=$tmp/config
refuses "tune wants matrices" 2 "which matrices" tune
refuses "of a model or of a list" 2 "not both" tune -m "$model" --shapes float.2:4x4
refuses "a shape that is none is a wrong line" 2 "'int.4.32.0.0:64' is no PROGRAM" tune --shapes int.4.32.0.0:64
refuses "and so is a program that is not launched alone" 2 "walk.4.32.0.0.0.64 can.t be timed" tune --shapes walk.4.32.0.0.0.64:64x64
refuses "heads share KV heads equally" 2 "5 heads don.t share 2 KV heads" tune --shapes attention.0.64:5x2
refuses "a list of nothing, too" 2 "there are none" tune --shapes ,
refuses "a variant that is none, too" 2 "'warp=9' is none" tune --shapes float.2:4x4 --variants local=16,warp=9
many=$(yes local=32 | head -n 65 | paste -sd,)
refuses "more variants than are tried at once are refused, not forgotten" 2 "more than 64 at once" \
	tune --shapes float.2:4x4 --variants "$many"
refuses "and so is a type of cache that is none" 2 "kv" tune --shapes attention.0.64:8x2 --kv f8
refuses "a place where no file can be is refused before anything is measured" 1 "no/where.tune: cannot create" \
	tune --shapes float.2:4x4 -o "$tmp/no/where.tune"
refuses "the reference has no variants" 2 "no variants" tune -m "$model" --device reference
refuses "a tune file that is none fails, where it was asked for" 1 "line 1" \
	run -m "$model" --tune "$model.none" -p x -n 1 --tune README.md
refuses "one that is not there is named" 1 "nosuch" run -m "$model" -p x -n 1 --tune "$tmp/nosuch"

# From here on with a library before the driver's, which the sanitizers would not have.
sherd=${SHERD_PLAIN:-build/sherd}
bad=${SHERD_BUILD_PLAIN:-build}/tests/cli/libbadvariant.so
if [[ ! -x $sherd || ! -e $bad ]]; then
	skip "variants are measured" "$bad or $sherd is not there"
	finish
fi
tuned()
{
	LD_PRELOAD=$bad SHERD_BAD_VARIANT=$1 "$sherd" "${@:2}" >"$out" 2>"$err" </dev/null
	rc=$?
}

f=$tmp/simt.tune
device=(--device cpu/simt)
tuned "32:wrong 128:crash" tune --shapes float.2:80x96 "${device[@]}" --variants local=32,local=128,local=16,tile=1x4 \
	--time 1 -o "$f"
if grep -q 'no OpenCL device' "$err"; then
	skip "variants are measured" "there is no OpenCL device"
	finish
fi
ok "tune ends well, whatever its variants do" test $rc = 0
ok "a variant with other bits is named, once, and refused" test "$(grep -c 'local=32 is not chosen: .*differs' "$err")" = 1
ok "one that crashes its driver, too" test "$(grep -c 'local=128 is not chosen: .*crashed' "$err")" = 1
ok "neither is in the file" bash -c "! grep '^use' '$f' | grep -qE 'local=(32|128)'"
ok "which has each class with its times" test \
	"$(awk '/^use/ && /us=.*default_us=/ { print $2 $3 $4 }' "$f" | sort | tr '\n' ' ')" = \
	"float.2decode128x128 float.2few128x128 float.2prompt128x128 "
ok "the shape, and the hash of the kernels" bash -c \
	"grep -q '^shape *simt' '$f' && grep -qE '^kernels  [0-9a-f]{64}$' '$f'"
ok "the table says how many were refused" grep -q '2 refused' "$out"
before=$(grep -m 1 '^use' "$f")
sh_run tune --shapes float.2:200x40 "${device[@]}" --variants local=16 --time 1 -o "$f"
ok "measuring other matrices leaves what the file has of the first" bash -c \
	"test $rc = 0 && test \$(grep -c '^use' '$f') = 6 && grep -qF '$before' '$f'"

# What no matmul is: attention by its heads, the steps between by their widths; on a device whose attention is bad in
# three ways, each in one variant.
fake=${SHERD_BUILD_PLAIN:-build}/tests/device/libfakeicd.so
if [[ -e $fake && -e /etc/OpenCL/vendors/pocl.icd ]]; then
	f=$tmp/fake.tune
	mkdir "$tmp/vendors"
	cp "$fake" "$tmp/fake.so"
	echo "$tmp/fake.so" >"$tmp/vendors/fake.icd"
	export OCL_ICD_VENDORS=$tmp/vendors
	# What is good about it is known beforehand: the limit is for what hangs.
	sh_run device-test --device "Fake GPU" --programs attention.0.32,rows
	SHERD_FAKE_ICD="crash:attend/16 hang:attend/32 flip:attend/128=2" sh_run tune --json -o "$f" --time 1 --limit 15 \
		--shapes attention.0.32:4x2,rows:96x160 \
		--variants local=16+parts=4,local=32+parts=4,local=128+parts=4
	unset OCL_ICD_VENDORS
	ok "tune ends well where one variant crashes, one hangs and one has other bits" test $rc = 0
	for how in "16 crashed" "32 hung: ended after" "128 .*attend .*differs"; do
		ok "one line says so, though there are three classes (local=$how)" test \
			"$(grep -c "^sherd: attention.0.32:local=${how%% *}+parts=4 is not chosen: .*${how#* }" "$err")" = 1
	done
	ok "and there are no other lines" test "$(wc -l <"$err")" = 3
	ok "none of them is in the file" bash -c "! grep '^use' '$f' | grep -q 'local='"
	ok "attention and the steps between matmuls are, in each class, with their times" test \
		"$(awk '/^use/ && /us=.*default_us=/ { print $2 $3 $4 }' "$f" | sort | tr '\n' ' ')" = \
		"attention.0.32decode4x2 attention.0.32few4x2 attention.0.32prompt4x2 rowsdecode128x256 rowsfew128x256 rowsprompt128x256 "
	ok "JSON has the device, the file and each class" test "$(json device) $(json file) $(json uses.4.program) $(json uses.4.class)" = \
		"Fake GPU $f rows few"
	ok "  ... with times, and what was chosen" test -n "$(json uses.0.default_us)" -a -n "$(json uses.0.variant)"
	ok "  ... and what was refused, and why" test \
		"$(json refused.0.program) $(json refused.2.variant): $(json refused.1.why | head -c 22)" = \
		"attention.0.32 local=128+parts=4: the device's test hung"
else
	skip "attention and the steps between matmuls are measured" "$fake is not there, or no PoCL that it could stand before"
fi

# The same kernel for all launches is a variant that needs no other compilation.
text()
{
	sh_run run -m "$model" -p "The scheduler" -n 8 -s 3 -v --device cpu/wide "$@"
}
text --tune none
cp "$out" "$tmp/text"
ok "untuned kernels are said to be" grep -q 'kernels: not tuned' "$err"
profile=$(grep -o 'bit profile .*' "$err")
mkdir -p "$XDG_CONFIG_HOME/sherd/tune"
printf 'sherd-tune 1\nshape wide\nkernels any\nuntested by hand\nuse int.8.* * * kernel=8\n' >"$XDG_CONFIG_HOME/sherd/tune/a.tune"
text
ok "a file in the user's folder is used, and said to be" grep -q 'kernels: .*/a.tune, 1 line, untested: by hand' "$err"
ok "the text is the same" same "$out" "$tmp/text"
ok "and so is the bit profile" test "$(grep -o 'bit profile .*' "$err")" = "$profile"
sh_run bench -m "$model" -p 16 -n 0 -r 1 --no-limits --kernels --json --device cpu/wide
ok "bench --kernels shows the variant" grep -q '"kernel=8"' "$out"

# Each kind of launch has its own.
f=$tmp/launches.tune
printf 'sherd-tune 1\nshape wide\nkernels any\nuse attention.* prompt * tile=1x4\n' >"$f"
text --tune "$f"
ok "with attention tuned, the text is the same" same "$out" "$tmp/text"
sh_run bench -m "$model" -p 16 -n 0 -r 1 --no-limits --kernels --json --device cpu/wide --tune "$f"
for want in "attend tile=1x4" "norm default"; do
	ok "prompts take what the file has for them, and no other kernel does ($want)" \
		bash -c "tr -d '\n' <'$out' | grep -qE '\"name\": \"${want% *}\",[^}]*\"variant\": \"${want#* }\"'"
done
sed -i "s/any/$(printf '0%.0s' {1..64})/" "$XDG_CONFIG_HOME/sherd/tune/a.tune"
text
ok "a stale file is passed over, with how to renew it" bash -c \
	"grep -q 'other kernels .*sherd tune measures anew' '$err' && grep -q 'kernels: not tuned' '$err'"
finish
