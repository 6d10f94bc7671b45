/* SPDX-License-Identifier: MIT */
/* fuzz_tune: any bytes as a tune file. What is taken is written and read back the same. */
#include <stdlib.h>
#include "device/tune.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_error err = { "" };
	struct sherd_tune t, again;
	char *text, *twice;

	if (sherd_tune_parse(&t, (const char *)data, size, "fuzz", &err)) {
		CHECK(err.msg[0] && !t.uses);
		return 0;
	}
	text = sherd_tune_print(&t);
	CHECK(text && !sherd_tune_parse(&again, text, strlen(text), "again", &err));
	twice = sherd_tune_print(&again);
	CHECK(twice && !strcmp(text, twice));
	for (int n = 1; n <= 128; n *= 4)
		sherd_tune_find(&t, "int.4.32.0.0", sherd_tune_class_of(n), 16 * n, 1 << 20);
	free(text);
	free(twice);
	sherd_tune_free(&t);
	sherd_tune_free(&again);
	return 0;
}
