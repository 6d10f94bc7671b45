/* SPDX-License-Identifier: MIT */
/* test_status: what `sherd status` shows of boards, whatever they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "net/board.h"
#include "tool.h"

/* What the command writes to stdout, to be freed. */
static char *status_of(struct board *b, const char *opt)
{
	char *argv[] = { "status", b->address, "--insecure", (char *)opt, NULL };
	int kept = dup(STDOUT_FILENO), rc;
	FILE *f = tmpfile();
	char *text;
	long n;

	assert_true(f && kept >= 0);
	fflush(stdout);
	dup2(fileno(f), STDOUT_FILENO);
	rc = tool_status.main(opt ? 4 : 3, argv);
	fflush(stdout);
	dup2(kept, STDOUT_FILENO);
	close(kept);
	n = lseek(fileno(f), 0, SEEK_END);
	text = calloc(1, (size_t)n + 1);
	assert_int_equal(pread(fileno(f), text, (size_t)n, 0), n);
	fclose(f);
	assert_int_equal(rc, TOOL_OK);
	return text;
}

static void says(const char *text, const char *words)
{
	if (!strstr(text, words))
		fail_msg("\"%s\" does not say \"%s\"", text, words);
}

static void a_name_commands_no_terminal(void **state)
{
	struct board b = { .name = "c\033[31mRED\xc2\x9b" "1m\"x" };
	char *text;

	(void)state;
	board_begin(&b);
	text = status_of(&b, NULL);
	says(text, "c?[31mRED?1m\"x (127.0.0.1:");
	assert_null(strchr(text, '\033'));
	free(text);
	text = status_of(&b, "--json");
	says(text, "\"c?[31mRED?1m\\\"x\"");
	free(text);
	board_end(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_commands_no_terminal),
	};

	return cmocka_run_group_tests_name("status", tests, NULL, NULL);
}
