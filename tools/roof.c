/* SPDX-License-Identifier: MIT */
/* roof: runs `sherd device-test --limits` and reads what it says. */
#include <stdlib.h>
#include <string.h>
#include "roof.h"
#include "tool.h"

#define TIMEOUT_S 120.0

/* The rest of the line after "@key ". */
static void copy_value(const char *text, const char *key, char *buf, size_t size)
{
	const char *p = strstr(text, key);

	if (p) {
		p += strlen(key);
		snprintf(buf, size, "%.*s", (int)strcspn(p, "\n"), p);
	}
}

bool roof_measure(const struct sherd_model_params *p, struct sherd_limits *l, char *dot_path,
		  size_t size, uint64_t *empty_pss)
{
	const char *argv[8] = { "--limits" };
	char threads[16], pss[32] = "";
	struct sherd_error err;
	char *text;
	int n = 1;

	if (p->device) {
		argv[n++] = "--device";
		argv[n++] = p->device;
	}
	if (p->n_threads) {
		snprintf(threads, sizeof(threads), "%d", p->n_threads);
		argv[n++] = "--threads";
		argv[n++] = threads;
	}
	tool_progress(NULL, "measuring the machine", 0, 0);
	if (sherd_device_child_text(argv, sherd_device_patience(TIMEOUT_S), -1, &text, &err)) {
		tool_note(NULL, err.msg);
		return false;
	}
	if (sherd_limits_parse(l, text)) {
		tool_note(NULL, "the device's limits came back garbled and are left out");
		free(text);
		return false;
	}
	copy_value(text, "\nempty_pss ", pss, sizeof(pss));
	copy_value(text, "\ndot_path ", dot_path, size);
	if (empty_pss)
		*empty_pss = strtoull(pss, NULL, 10);
	free(text);
	return true;
}
