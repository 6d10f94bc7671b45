/* SPDX-License-Identifier: MIT */
/*
 * Messages: what is read is what was said; names and addresses as long as plans allow arrive whole.
 */
#include "ear.h"
#include "net/message.h"

/* A net that keeps what was sent last. */
static uint8_t sent[SHERD_MESSAGE_MAX];
static uint32_t n_sent;

static void keep(struct sherd_link *l, const struct sherd_frame *f, const struct sherd_payload *p)
{
	(void)l;
	(void)f;
	assert_true(p->size <= sizeof(sent));
	memcpy(sent, p->data, p->size);
	n_sent = p->size;
}

static const struct sherd_net_ops ops = { .send = keep };
static struct sherd_net net = { .ops = &ops };
static struct sherd_link wire = { .net = &net };

/* "nnn...n:7433", @n letters in all. */
static void make_address(char *to, size_t n)
{
	memset(to, 'n', n - 5);
	memcpy(to + n - 5, ":7433", 6);
}

static struct sherd_command a_route(void)
{
	struct sherd_command c = { .kind = SHERD_COMMAND_ROUTE, .id = 7, .stage = 1,
				   .epoch = 3, .chunk = 16, .window = 64 };

	memset(c.previous, 'p', SHERD_NAME_MAX - 1);
	memset(c.next, 'x', SHERD_NAME_MAX - 1);
	return c;
}

static void a_routes_address_arrives_whole_however_long(void **state)
{
	static const size_t lengths[] = { 6, 62, 63, 64, 65, 255, SHERD_ADDRESS_MAX - 1 };
	struct sherd_command c = a_route(), back;
	struct sherd_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(lengths); i++) {
		make_address(c.next_address, lengths[i]);
		sherd_command_send(&wire, &c);
		if (sherd_command_read(&back, sent, n_sent, &err))
			fail_msg("%zu letters: %s", lengths[i], err.msg);
		assert_string_equal(back.next_address, c.next_address);
		assert_string_equal(back.next, c.next);
		assert_string_equal(back.previous, c.previous);
	}
}

static void a_routes_address_that_is_too_long_is_refused(void **state)
{
	static char text[2 * SHERD_ADDRESS_MAX], address[SHERD_ADDRESS_MAX + 1];
	struct sherd_command back;
	struct sherd_error err;
	int n;

	(void)state;
	make_address(address, SHERD_ADDRESS_MAX);
	n = snprintf(text, sizeof(text),
		     "{\"do\": \"route\", \"id\": 1, \"stage\": 1, \"with\": {\"epoch\": 1, "
		     "\"chunk\": 1, \"window\": 1, \"exact\": true, \"previous\": \"\", "
		     "\"next\": \"x\", \"address\": \"%s\"}}", address);
	assert_int_equal(sherd_command_read(&back, (const uint8_t *)text, (size_t)n, &err),
			 -EPROTO);
	assert_non_null(strstr(err.msg, "the next node's address has 272 letters"));
}

static void a_session_has_fewer_cuts_than_the_model_layers(void **state)
{
	struct sherd_stage_session s = { .max = 1, .params.sampler = SHERD_SAMPLER_PARAMS_INIT,
					 .params.cuts = (int[]){ 1, 2, 2 } };
	struct sherd_error err;
	char *text;

	(void)state;
	for (s.params.n_cuts = 2; s.params.n_cuts <= 3; s.params.n_cuts++) {
		struct sherd_stage_session back;

		text = sherd_open_text(&s);
		assert_int_equal(sherd_open_read(&back, 1, (const uint8_t *)text, strlen(text), 3,
						 &err),
				 s.params.n_cuts < 3 ? 0 : -EPROTO);
		sherd_stage_session_free(&back);
		free(text);
	}
	assert_string_equal(err.msg, "a session has 3 cuts between 3 layers");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_routes_address_arrives_whole_however_long),
		cmocka_unit_test(a_routes_address_that_is_too_long_is_refused),
		cmocka_unit_test(a_session_has_fewer_cuts_than_the_model_layers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
