/* SPDX-License-Identifier: MIT */
/* opt: the option parser of the command, and the words that it answers with. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "tool.h"

#define MAX_ARGS 16

static const struct tool tool = { .name = "test", .synopsis = "...", .about = "Tests.\n" };

struct line {
	int n;
	uint64_t seed;
	struct opt_seed draw;
	float temp;
	const char *model;
	struct opt_strs stops;
	struct opt_ints cuts;
	bool echo, verbose;
	int argc; /* what is left */
	char *argv[MAX_ARGS];
	int rc;
	char said[1024]; /* on stderr */
};

/* Parses the words of @words (separated by single spaces); what comes out on stderr is kept. */
static void parse(struct line *l, const char *words)
{
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &l->model, 0, 0, "MODEL", "a model" },
		{ 'n', "number", OPT_INT, &l->n, -1, 100, "N", "a number" },
		{ 's', "seed", OPT_U64, &l->seed, 0, 0, "SEED", "a seed" },
		{ 0, "draw", OPT_SEED, &l->draw, 0, 0, "SEED", "a seed, or -1" },
		{ 0, "temp", OPT_FLOAT, &l->temp, 0, 2, "T", "a temperature" },
		{ 0, "stop", OPT_STRS, &l->stops, 0, 0, "S", "a stop" },
		{ 0, "cuts", OPT_INTS, &l->cuts, 1, 64, "L,...", "some cuts" },
		{ 'e', "echo", OPT_FLAG, &l->echo, 0, 0, NULL, "echo" },
		{ 'v', NULL, OPT_FLAG, &l->verbose, 0, 0, NULL, "more" },
		{ 0 }
	};
	static char copy[1024];
	FILE *err = tmpfile();
	int saved = dup(STDERR_FILENO);

	memset(l, 0, sizeof(*l));
	l->argv[l->argc++] = (char *)"test";
	snprintf(copy, sizeof(copy), "%s", words);
	for (char *w = strtok(copy, " "); w; w = strtok(NULL, " "))
		l->argv[l->argc++] = w;
	dup2(fileno(err), STDERR_FILENO);
	l->rc = opt_parse(&tool, opts, &l->argc, l->argv);
	dup2(saved, STDERR_FILENO);
	close(saved);
	rewind(err);
	l->said[fread(l->said, 1, sizeof(l->said) - 1, err)] = '\0';
	fclose(err);
}

static void done(struct line *l)
{
	opt_strs_free(&l->stops);
	opt_ints_free(&l->cuts);
}

static void every_way_to_write_an_option_is_taken(void **state)
{
	struct line l;

	(void)state;
	parse(&l, "-n5 --temp=0.5 -s 18446744073709551615 --cuts 4,12 --stop a --stop b -ev x");
	assert_int_equal(l.rc, 0);
	assert_int_equal(l.n, 5);
	assert_true(l.temp == 0.5f);
	assert_true(l.seed == UINT64_MAX);
	assert_int_equal(l.cuts.n, 2);
	assert_int_equal(l.cuts.v[1], 12);
	assert_int_equal(l.stops.n, 2);
	assert_string_equal(l.stops.v[1], "b");
	assert_true(l.echo && l.verbose);
	assert_int_equal(l.argc, 1);
	assert_string_equal(l.argv[0], "x");
	done(&l);
}

static void a_negative_number_is_a_value_and_not_an_option(void **state)
{
	struct line l;

	(void)state;
	parse(&l, "-n -1");
	assert_int_equal(l.rc, 0);
	assert_int_equal(l.n, -1);
}

static void minus_one_is_no_seed(void **state)
{
	struct line l;

	(void)state;
	parse(&l, "--draw 18446744073709551615");
	assert_int_equal(l.rc, 0);
	assert_true(l.draw.given && l.draw.v == UINT64_MAX);
	parse(&l, "--draw 5 --draw -1");
	assert_int_equal(l.rc, 0);
	assert_false(l.draw.given);
}

static void arguments_keep_their_order_around_options(void **state)
{
	struct line l;

	(void)state;
	parse(&l, "one -n 3 - -- -e --cuts");
	assert_int_equal(l.rc, 0);
	assert_false(l.echo);
	assert_int_equal(l.argc, 4);
	assert_string_equal(l.argv[0], "one");
	assert_string_equal(l.argv[1], "-");
	assert_string_equal(l.argv[2], "-e");
	assert_string_equal(l.argv[3], "--cuts");
}

static void a_wrong_line_is_answered_with_one_sentence(void **state)
{
	static const struct {
		const char *words, *answer;
	} cases[] = {
		{ "-n abc", "-n: 'abc' is not a number" },
		{ "-n 5x", "-n: '5x' is not a number" },
		{ "--number=", "--number: '' is not a number" },
		{ "-n 101", "-n: 101 is out of range (-1 to 100)" },
		{ "-n 99999999999", "-n: 99999999999 is out of range" },
		{ "-s -4", "-s: '-4' is not a number" },
		{ "-s 18446744073709551616", "-s: 18446744073709551616 is out of range" },
		{ "--draw -2", "--draw: '-2' is not a number" },
		{ "--draw -1x", "--draw: '-1x' is not a number" },
		{ "--draw 18446744073709551616", "--draw: 18446744073709551616 is out of range" },
		{ "--temp nan", "--temp: 'nan' is not a number" },
		{ "--temp 2.5", "--temp: 2.5 is out of range (0 to 2)" },
		{ "--cuts 4,", "--cuts: '4,' is not a list" },
		{ "--cuts 4,x", "--cuts: '4,x' is not a list" },
		{ "--cuts 0", "--cuts: 0 is out of range (1 to 64)" },
		{ "-n", "-n needs a value (N)" },
		{ "--echo=1", "--echo takes no value" },
		{ "--tmep 1", "there is no option '--tmep'; did you mean '--temp'?" },
		{ "--frobnicate", "there is no option '--frobnicate'" },
		{ "-x", "there is no option '-x'" },
	};
	struct line l;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		parse(&l, cases[i].words);
		assert_int_equal(l.rc, -1);
		if (!strstr(l.said, cases[i].answer))
			fail_msg("'%s' was answered with: %s", cases[i].words, l.said);
		assert_ptr_equal(strchr(l.said, '\n'), l.said + strlen(l.said) - 1);
		assert_ptr_equal(strstr(l.said, "sherd test: "), l.said);
		done(&l);
	}
}

static void sizes_are_written_for_people(void **state)
{
	(void)state;
	assert_string_equal(tool_bytes(0), "0 B");
	assert_string_equal(tool_bytes(1023), "1023 B");
	assert_string_equal(tool_bytes(512 * 1024), "512.0 KiB");
	assert_string_equal(tool_bytes(1181116006), "1.10 GiB");
}

static void the_distance_of_two_words_counts_letters(void **state)
{
	(void)state;
	assert_int_equal(sherd_distance("run", "run"), 0);
	assert_int_equal(sherd_distance("rnu", "run"), 2);
	assert_int_equal(sherd_distance("tokenise", "tokenize"), 1);
	assert_int_equal(sherd_distance("", "run"), 3);
	assert_int_equal(sherd_distance("bench", "be"), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_way_to_write_an_option_is_taken),
		cmocka_unit_test(a_negative_number_is_a_value_and_not_an_option),
		cmocka_unit_test(minus_one_is_no_seed),
		cmocka_unit_test(arguments_keep_their_order_around_options),
		cmocka_unit_test(a_wrong_line_is_answered_with_one_sentence),
		cmocka_unit_test(sizes_are_written_for_people),
		cmocka_unit_test(the_distance_of_two_words_counts_letters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
