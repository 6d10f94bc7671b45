/* SPDX-License-Identifier: MIT */
/*
 * proxy: the faulty network as a program, for trying things by hand:
 *
 *	proxy FROM TO [there|back FAULT=NUMBER ...] [blackhole]
 *	proxy 127.0.0.1:7000 10.0.0.2:7433 there delay_us=20000 back piece=1 reset=100000
 */
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "net/proxy.h"

static const struct {
	const char *name;
	size_t at;
	bool wide;
} faults[] = {
	{ "delay_us", offsetof(struct proxy_way, delay_us), false },
	{ "piece", offsetof(struct proxy_way, piece), false },
	{ "pause_us", offsetof(struct proxy_way, pause_us), false },
	{ "corrupt", offsetof(struct proxy_way, corrupt), true },
	{ "stall", offsetof(struct proxy_way, stall), true },
	{ "cut", offsetof(struct proxy_way, cut), true },
	{ "reset", offsetof(struct proxy_way, reset), true },
};

static bool set(struct proxy_way *w, const char *arg)
{
	const char *equals = strchr(arg, '=');
	unsigned long long value = equals ? strtoull(equals + 1, NULL, 10) : 0;

	for (size_t i = 0; equals && i < sizeof(faults) / sizeof(*faults); i++) {
		if (strncmp(arg, faults[i].name, equals - arg) || faults[i].name[equals - arg])
			continue;
		if (faults[i].wide)
			*(uint64_t *)((char *)w + faults[i].at) = value;
		else
			*(unsigned *)((char *)w + faults[i].at) = (unsigned)value;
		return true;
	}
	fprintf(stderr, "proxy: \"%s\" is no fault\n", arg);
	return false;
}

int main(int argc, char **argv)
{
	struct proxy_params p = { 0 };
	struct proxy_way *way = &p.there;
	char address[64];
	const char *why;
	sigset_t ends;
	int sig;

	if (argc < 3) {
		fprintf(stderr, "usage: proxy FROM TO [there|back FAULT=NUMBER ...] [blackhole]\n");
		return 2;
	}
	p.from = argv[1];
	p.to = argv[2];
	for (int i = 3; i < argc; i++) {
		if (!strcmp(argv[i], "there") || !strcmp(argv[i], "back"))
			way = *argv[i] == 't' ? &p.there : &p.back;
		else if (!strcmp(argv[i], "blackhole"))
			p.blackhole = true;
		else if (!set(way, argv[i]))
			return 2;
	}
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	sigprocmask(SIG_BLOCK, &ends, NULL);
	struct proxy *x = proxy_start(&p, address, &why);

	if (!x) {
		fprintf(stderr, "proxy: %s\n", why);
		return 1;
	}
	printf("%s\n", address);
	fflush(stdout);
	sigwait(&ends, &sig);
	proxy_stop(x);
	return 0;
}
