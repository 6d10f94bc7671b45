// SPDX-License-Identifier: MIT
/* Pinning while another thread takes the pages away from the file, and back. */
#include <pthread.h>
#include <stdatomic.h>

#include "guest.h"

#define N 16

static struct {
	int fd;
	uint8_t *at;
	atomic_bool stop;
	const char *how;
} race;

/* Shrinks, grows, punches and refills. */
static void *disturb(void *arg)
{
	uint8_t *data = arg;
	unsigned int i;

	for (i = 0; !race.stop; i++) {
		if (race.how[0] == 't')
			CHECK_EQ(ftruncate(race.fd, (i % N) * page), 0);
		else if (race.how[0] == 'p')
			CHECK_EQ(fallocate(race.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					   (i % N) * page, 4 * page), 0);
		else
			CHECK_EQ(madvise(race.at + (i % N) * page, page, MADV_REMOVE), 0);
		CHECK_EQ(pwrite(race.fd, data, N * page, 0), N * page);
	}
	return NULL;
}

/* Pages of this file, whatever becomes of it: holes, or written, or about to be. */
static bool is_pattern_or_hole(const uint8_t *seen)
{
	size_t i;

	for (i = 0; i < (size_t)(N * page); i++) {
		if (seen[i] && seen[i] != pattern(i / page, i % page))
			return false;
	}
	return true;
}

/* Either it is refused, or what was pinned stays what it was; the rest the oracle sees. */
static void pin_against(const char *how, bool by_address)
{
	uint8_t *data = malloc(N * page), *seen;
	/* A page that is on its way cannot leave memory that is kept for drivers. */
	int busy = number_in("/proc/meminfo", "CmaTotal:") > 0 ? -ENOMEM : 0;
	int buffer, w, good = 0, refused = 0;
	pthread_t other;
	double start = now();
	size_t i;

	for (i = 0; i < (size_t)(N * page); i++)
		data[i] = pattern(i / page, i % page);
	race.how = how;
	race.stop = false;
	CHECK_EQ(pthread_create(&other, NULL, disturb, data), 0);
	do {
		buffer = by_address ? pin_at(race.fd, race.at, N * page, SHERD_PIN_READ_ONLY) :
				      pin(race.fd, 0, N * page, SHERD_PIN_READ_ONLY);
		if (buffer < 0) {
			CHECK(buffer == -EINVAL || buffer == -EFAULT || buffer == busy);
			refused++;
		} else {
			w = window(buffer, 0, N * page);
			close(buffer);
			seen = map(w, N * page, PROT_READ, MAP_SHARED);
			CHECK(is_pattern_or_hole(seen));
			munmap(seen, N * page);
			close(w);
			good++;
		}
	} while (now() < start + (good ? 1 : 60));
	race.stop = true;
	pthread_join(other, NULL);
	printf("# %s: pinned %d times, refused %d times\n", how, good, refused);
	CHECK(good);
	free(data);
}

static void file_races(const char *dir)
{
	char path[64];

	if (!mounted(dir))
		test_skip("no file system at %s in this guest", dir);
	close(file_in(dir, N * page, path));
	race.fd = open(path, O_RDWR | O_CLOEXEC);
	race.at = map(race.fd, N * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	pin_against("truncating", true);
	pin_against("punching", true);
	pin_against("madvise(MADV_REMOVE)", true);
	unlink(path);
}

static void ext4(void)
{
	file_races("/ext4");
}

static void tmpfs(void)
{
	file_races("/tmp");
}

static void sealed(void)
{
	race.fd = memfd(0, N * page, F_SEAL_SHRINK);
	race.at = map(race.fd, N * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	pin_against("punching", false);
	pin_against("madvise(MADV_REMOVE)", false);
}

const struct test race_tests[] = {
	{ "a file on ext4 is pinned while it is truncated and punched, or refused", ext4, 0 },
	{ "a file on tmpfs is pinned while it is truncated and punched, or refused", tmpfs, 0 },
	{ "a memfd is pinned while holes are punched into it, or refused", sealed, 0 },
	{ 0 }
};
