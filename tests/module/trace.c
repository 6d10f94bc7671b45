// SPDX-License-Identifier: MIT
/* Trace events, through tracefs. */
#include "guest.h"
#include "trace.h"

#define TRACING "/sys/kernel/tracing/"

static bool put_in(const char *name, const char *text)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", name);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text);
}

static void enable(const char *const *events, const char *how)
{
	char name[64];

	for (; *events; events++) {
		snprintf(name, sizeof(name), "events/%s/enable", *events);
		CHECK(put_in(name, how));
	}
}

bool trace_start(const char *const *events)
{
	if (access(TRACING "events/sherd", F_OK))
		return false;
	put_in("trace_clock", "mono");
	put_in("trace", "");
	enable(events, "1");
	return true;
}

void trace_stop(const char *const *events)
{
	enable(events, "0");
}

/* "            init-123     [001] d..1.   12.345678: sherd_pin: bytes=..." */
static bool parse(char *line, struct traced *event)
{
	char *cpu = strstr(line, " ["), *colon = cpu ? strstr(cpu, ": ") : NULL, *p;

	if (line[0] == '#' || !colon)
		return false;
	for (p = colon; p > cpu && p[-1] != ' '; p--)
		;
	event->at = strtod(p, NULL);
	for (p = cpu; p > line && p[-1] == ' '; p--)
		;
	while (p > line && p[-1] != '-')
		p--;
	event->pid = (int)strtol(p, NULL, 10);
	snprintf(event->what, sizeof(event->what), "%.250s", colon + 2);
	return true;
}

void trace_each(void (*fn)(const struct traced *event, void *arg), void *arg)
{
	struct traced event;
	char line[512];
	FILE *f = fopen(TRACING "trace", "r");

	CHECK(f);
	while (fgets(line, sizeof(line), f)) {
		if (parse(line, &event))
			fn(&event, arg);
	}
	fclose(f);
}

uint64_t traced_number(const struct traced *event, const char *key)
{
	char want[32];
	const char *p;

	snprintf(want, sizeof(want), " %s=", key);
	p = strstr(event->what, want);
	return p ? strtoull(p + strlen(want), NULL, 10) : 0;
}

struct wanted {
	const char *event;
	uint64_t bytes;
	int count;
};

static void count(const struct traced *event, void *arg)
{
	struct wanted *w = arg;
	size_t n = strlen(w->event);

	w->count += !strncmp(event->what, w->event, n) && event->what[n] == ':' &&
		    traced_number(event, "bytes") == w->bytes;
}

int trace_count(const char *event, uint64_t bytes)
{
	struct wanted w = { event, bytes, 0 };

	trace_each(count, &w);
	return w.count;
}
