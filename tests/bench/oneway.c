/* SPDX-License-Identifier: MIT */
/*
 * oneway: what a message takes from one process to another over plain TCP, on one machine's clock:
 * the least that a hop between two stages could cost here. Messages come at intervals, since a
 * machine that has slept for a step's time wakes up more slowly than one that is busy.
 *
 *	oneway listen ADDRESS PORT BYTES COUNT		prints microseconds, a line each
 *	oneway send ADDRESS PORT BYTES COUNT INTERVAL_US
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int fail(const char *what)
{
	perror(what);
	return 1;
}

static int receive(int s, char *buf, size_t size, int count)
{
	uint64_t sent;

	for (int i = 0; i < count; i++) {
		if (recv(s, buf, size, MSG_WAITALL) != (ssize_t)size)
			return fail("recv");
		memcpy(&sent, buf, sizeof(sent));
		printf("%.1f\n", (double)(now_ns() - sent) * 1e-3);
	}
	return 0;
}

static int transmit(int s, char *buf, size_t size, int count, long interval_us)
{
	const struct timespec pause = { interval_us / 1000000, interval_us % 1000000 * 1000 };
	uint64_t now;

	for (int i = 0; i < count; i++) {
		nanosleep(&pause, NULL);
		now = now_ns();
		memcpy(buf, &now, sizeof(now));
		if (send(s, buf, size, 0) != (ssize_t)size)
			return fail("send");
	}
	return 0;
}

int main(int argc, char **argv)
{
	int listens = argc > 5 && !strcmp(argv[1], "listen"), one = 1, count, s;
	struct sockaddr_in a = { .sin_family = AF_INET };
	size_t size;
	char *buf;

	if (argc < (listens ? 6 : 7))
		return 2;
	inet_pton(AF_INET, argv[2], &a.sin_addr);
	a.sin_port = htons((uint16_t)atoi(argv[3]));
	size = strtoul(argv[4], NULL, 10);
	count = atoi(argv[5]);
	buf = calloc(1, size);
	s = socket(AF_INET, SOCK_STREAM, 0);
	if (s < 0 || !buf || size < sizeof(uint64_t))
		return 2;
	setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!listens)
		return connect(s, (struct sockaddr *)&a, sizeof(a)) ?
			       fail("connect") :
			       transmit(s, buf, size, count, atol(argv[6]));
	setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 1))
		return fail("listen");
	s = accept(s, NULL, NULL);
	return s < 0 ? fail("accept") : receive(s, buf, size, count);
}
