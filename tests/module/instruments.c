// SPDX-License-Identifier: MIT
/*
 * What the guest's kernel says of itself: its log, which has something of alarm in it or not, and
 * on an instrumented kernel kmemleak. A stock kernel has the log alone. The last test is one of the
 * instruments: each is shown what it is there for (faulty.ko), since one that sees nothing looks
 * like a module without faults.
 */
#include <sys/syscall.h>

#include "guest.h"

#define KMEMLEAK "/sys/kernel/debug/kmemleak"

static int kmsg = -1;

/*
 * Of data races those count that the module is part of: the kernel has others, some of them known
 * and meant. They are told, without alarm.
 */
static bool is_alarm(const char *line, bool aloud)
{
	static bool starving;
	static const char *const words[] = {
		"BUG", "WARNING:", "Oops", "Call Trace:", "Call trace:", "Bad page", "refcount_t",
		"general protection", "KASAN", "kmemleak", "possible circular",
		"possible recursive", "INFO: trying to register", "suspicious RCU", "DMA-API:",
		"ODEBUG", "corruption",
	};
	size_t i;

	/* Who is killed for want of memory gets a call trace as well. */
	if (strstr(line, "invoked oom-killer"))
		starving = true;
	else if (strstr(line, "Killed process"))
		starving = false;
	if (starving && strstr(line, "Call "))
		return false;
	/* It needs memory itself, and some tests see to it that there is none. */
	if (strstr(line, "dma-debug disabled"))
		return false;
	if (strstr(line, "KCSAN") && !strstr(line, "[sherd]") && !strstr(line, "[faulty]")) {
		if (aloud)
			printf("# elsewhere in the kernel: %s", line);
		return false;
	}
	for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
		if (strstr(line, words[i]))
			return true;
	}
	return false;
}

/* Alarms in the log since the last time; aloud: prints them, and what follows them. */
static int log_alarms(bool aloud)
{
	int alarms = 0, follow = 0;
	char record[2048], *text;
	ssize_t n;

	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		if (n < 0) {
			/* The log went round before it was read. */
			snprintf(record, sizeof(record), ";WARNING: lines of the log are lost\n");
			n = strlen(record);
		}
		record[n] = '\0';
		text = strchr(record, ';');
		text = text ? text + 1 : record;
		if (is_alarm(text, aloud)) {
			alarms++;
			follow = 60;
		}
		if (aloud && follow-- > 0)
			printf("# kernel: %s", text);
	}
	return alarms;
}

static bool scan(const char *command)
{
	int fd = open(KMEMLEAK, O_RDWR | O_CLOEXEC);
	bool done = fd >= 0 && write(fd, command, strlen(command)) > 0;

	if (fd >= 0)
		close(fd);
	return done;
}

/*
 * kmemleak tells of memory that nobody pointed to in two scans, and that is older than 5 s: what a
 * test lost may be reported after one of the next. Its process's name says which ("test-12").
 */
static int leaks(bool aloud)
{
	FILE *f = scan("scan") ? fopen(KMEMLEAK, "r") : NULL;
	char line[256];
	int n = 0;

	if (!f)
		return 0;
	while (fgets(line, sizeof(line), f)) {
		n += !strncmp(line, "unreferenced", 12);
		if (aloud)
			printf("# kmemleak: %s", line);
	}
	fclose(f);
	if (n)
		scan("clear");
	return n;
}

void instruments_start(void)
{
	int fd;

	/* every fault of DMA mappings, not the first alone */
	fd = open("/sys/kernel/debug/dma-api/all_errors", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		if (write(fd, "1", 1) != 1)
			printf("# dma-api: %s\n", strerror(errno));
		close(fd);
	}
	/* What the kernel lost before there was a module is not the module's. */
	leaks(false);
	leaks(false);
	kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(kmsg, 0, SEEK_END);
}

bool instruments_are_quiet(void)
{
	int found = leaks(true);

	return !(log_alarms(true) + found);
}

/* Both switch themselves off when they are out of memory, lockdep also after a find. */
static void nothing_lost(void)
{
	if (access(KMEMLEAK, F_OK))
		test_skip("this kernel has no kmemleak");
	sleep(6);
	CHECK_EQ(leaks(true) + leaks(true), 0);
	CHECK(scan("scan"));
}

static void lockdep_looks(void)
{
	long on = number_in("/proc/lockdep_stats", " debug_locks:");

	if (on < 0)
		test_skip("this kernel has no lockdep");
	CHECK_EQ(on, 1);
}

/* ---------------------------------------------------------------- can they see? */

/* Whether this kernel was built to see that fault: sherd.sees=fault,fault on its command line. */
static bool is_to_see(const char *fault)
{
	const char *at = option("sherd.sees=");
	size_t len = strlen(fault);

	for (; at && *at > ' '; at += strcspn(at, ", \n"), at += *at == ',') {
		if (!strncmp(at, fault, len) && strchr(", \n", at[len]))
			return true;
	}
	return false;
}

static void see(const char *fault)
{
	char arg[32];
	int fd, err;

	if (!is_to_see(fault))
		return;
	fd = open("/faulty.ko", O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	snprintf(arg, sizeof(arg), "what=%s", fault);
	err = syscall(SYS_finit_module, fd, arg, 0) ? errno : 0;
	CHECK_EQ(err, ECANCELED);
	close(fd);
	if (!strcmp(fault, "leak")) {
		sleep(6);
		err = leaks(false) + leaks(false);
		log_alarms(false);
	} else {
		err = log_alarms(false);
	}
	if (!err)
		test_fail(__FILE__, __LINE__, "nobody saw: %s", fault);
	printf("# seen: %s\n", fault);
}

static void sees_dma(void)
{
	if (!is_to_see("dma"))
		test_skip("this kernel does not look at DMA mappings");
	see("dma");
}

/* Lockdep looks no further after KASAN has found something, so it comes before. */
static void sees_faults(void)
{
	static const char *const faults[] = {
		"lock-order", "sleep", "list-corruption", "use-after-free", "beyond-end", "race",
		"leak",
	};
	size_t i;

	if (!option("sherd.sees="))
		test_skip("this is no kernel with instruments");
	for (i = 0; i < sizeof(faults) / sizeof(*faults); i++)
		see(faults[i]);
}

const struct test dma_instrument_tests[] = {
	{ "a false DMA mapping, made on purpose, is seen", sees_dma, 0 },
	{ 0 }
};

const struct test instrument_tests[] = {
	{ "lockdep is still looking after all this", lockdep_looks, 0 },
	{ "nothing that was allocated is lost, and kmemleak is still looking", nothing_lost, 0 },
	{ "faults of memory, locks and races, made on purpose, are seen", sees_faults, 0 },
	{ 0 }
};
