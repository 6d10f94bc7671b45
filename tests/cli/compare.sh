#!/bin/bash
# SPDX-License-Identifier: MIT
# bench --compare: its arithmetic is tested in unit/test_compare.c; here, what it says and how it ends.
. "$(dirname "$0")/lib"

# results FILE FACTOR DEVICE: as bench --json writes them.
results()
{
	awk -v f="$2" -v d="$3" 'BEGIN {
		printf "[{\"devices\": \"%s\", \"n_prompt\": 0, \"n_gen\": 4, \"n_depth\": 0, ", d
		printf "\"test_time\": \"2026-01-01T00:00:00Z\", \"samples_ts\": [%g, %g, %g]}]\n", 100 * f, 101 * f, 99 * f
	}' >"$1"
}
results "$tmp/old" 1 A
results "$tmp/fast" 1.5 A
results "$tmp/slow" 0.5 B

sh_run bench --compare "$tmp/old" --new "$tmp/fast"
ok "two files are compared without a model" bash -c "test $rc = 0 && grep -qE 'tg4 .* \+50.0 % .* faster' '$out'"
ok "and nothing is said to differ where nothing does" bash -c "! grep -q 'not the same' '$out'"
sh_run bench --compare "$tmp/old" --new "$tmp/slow"
ok "what differs beside speed is said" grep -q "^not the same: the device is another: A, now B" "$out"
ok "slower is a word, and no failure" bash -c "test $rc = 0 && grep -q 'SLOWER' '$out'"
sh_run bench --compare "$tmp/old" --new "$tmp/slow" --fail-if-slower
ok "but with --fail-if-slower exit code 3" test $rc = 3
sed 's/, 101, 99\]/]/' "$tmp/old" >"$tmp/once"
sh_run bench --compare "$tmp/old" --new "$tmp/once"
ok "of a single repetition the verdict is that nobody knows" bash -c "test $rc = 0 && grep -q 'unknown' '$out'"
sh_run bench --compare "$tmp/old" --new "$tmp/once" --fail-if-slower
ok "which has not passed with --fail-if-slower" \
	bash -c "test $rc = 1 && grep -q 'tg4: .*two or more repetitions, the old result has 3 .* the new one 1' '$err'"
sed 's/^\[\(.*\)\]$/[\1, \1]/; s/"n_gen": 4/"n_gen": 8/' "$tmp/old" >"$tmp/two"
sh_run bench --compare "$tmp/two" --new "$tmp/fast" --fail-if-slower
ok "nor has what the new results lack" bash -c "test $rc = 1 && grep -q 'fast: lacks 1 test of .*two, and' '$err'"
sh_run bench --compare "$tmp/old" --new "$tmp/two" --fail-if-slower
ok "more than the old ones have is no matter" test $rc = 0
refuses "nor has an old result of one repetition" 1 "once: .*-r 2 or more" \
	bench --compare "$tmp/once" --new "$tmp/old" --fail-if-slower
refuses "which is said before anything is measured" 1 "once: .*-r 2 or more" \
	bench -m "$tmp/none" --compare "$tmp/once" --fail-if-slower
refuses "and measuring once is a wrong command line" 2 "--fail-if-slower: a single repetition" \
	bench -m "$tmp/none" -r 1 --compare "$tmp/old" --fail-if-slower
sh_run bench --compare "$tmp/old" --new "$tmp/fast" --fail-if-slower --json
ok "--json has the comparison" test "$rc $(json tests.0.verdict) $(json slower)" = "0 faster false"

sh_run bench -m "$model" -r 2 --no-limits --compare "$tmp/old"
ok "with a model the old file's tests are measured, and no others" \
	bash -c "test $rc = 0 && grep -q 'tg4' '$out' && ! grep -q 'pp' '$out'"
ok "and compared" grep -q "^new: just now" "$out"
sh_run bench -m "$model" -r 2 --no-limits --compare "$tmp/old" -p 0 -n 4 --json
cp "$out" "$tmp/both"
ok "--json has both" test "$(json results.0.n_gen) $(json tests.0.test)" = "4 tg4"
sh_run bench --compare "$tmp/both" --new "$tmp/both" --json
ok "such a file can be compared again" test "$(json tests.0.verdict)" = same

refuses "a file that is not there is refused before anything is measured" 1 "nosuch" \
	bench -m "$tmp/none" --compare "$tmp/nosuch"
refuses "a model is no result" 1 "is no JSON" bench --compare "$model" --new "$tmp/old"
refuses "two files need no model" 2 "-m does nothing with --new" bench -m x --compare "$tmp/old" --new "$tmp/old"
refuses "--new needs an old one" 2 "--new goes with --compare" bench --new "$tmp/old"
refuses "--fail-if-slower too" 2 "goes with --compare" bench -m "$model" --fail-if-slower
sed 's/"n_gen": 4/"n_gen": 5/' "$tmp/old" >"$tmp/other"
refuses "results without a test in common are refused" 1 "no test in common" \
	bench --compare "$tmp/old" --new "$tmp/other"
finish
