// SPDX-License-Identifier: MIT
/* Seals, denied writers, and what they promise: the bytes of an immutable buffer never change. */
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>

#include "guest.h"

#define N 8
#define ALL (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL)

static void each_seal_missing(void)
{
	CHECK_EQ(pin(memfd(0, page, 0), 0, page, 0), -EPERM);
	CHECK_EQ(pin(memfd(0, page, 0), 0, page, SHERD_PIN_READ_ONLY), -EPERM);
	CHECK_EQ(pin(memfd(0, page, F_SEAL_GROW | F_SEAL_WRITE), 0, page, SHERD_PIN_IMMUTABLE),
		 -EPERM);
	CHECK_EQ(pin(memfd(0, page, F_SEAL_SHRINK), 0, page, SHERD_PIN_IMMUTABLE), -EPERM);
	CHECK_EQ(pin(memfd(0, page, F_SEAL_SHRINK | F_SEAL_WRITE), 0, page, 0), -EPERM);
	CHECK(pin(memfd(0, page, F_SEAL_SHRINK | F_SEAL_WRITE), 0, page, SHERD_PIN_IMMUTABLE) >= 0);
	CHECK(pin(memfd(0, page, F_SEAL_SHRINK | F_SEAL_WRITE), 0, page, SHERD_PIN_READ_ONLY) >= 0);
#ifdef F_SEAL_FUTURE_WRITE
	CHECK_EQ(pin(memfd(0, page, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), 0, page, 0), -EPERM);
	CHECK_EQ(pin(memfd(0, page, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), 0, page,
		     SHERD_PIN_IMMUTABLE), -EPERM);
	CHECK(pin(memfd(0, page, F_SEAL_SHRINK | F_SEAL_FUTURE_WRITE), 0, page,
		  SHERD_PIN_READ_ONLY) >= 0);
#endif
}

static void write_seal_while_pinned(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0);

	CHECK(buffer >= 0);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) && errno == EBUSY);
	close(buffer);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
}

/* Where one page of the file is many. */
static void huge_seals(unsigned int flags, size_t huge)
{
	int fd = memfd(flags, huge, F_SEAL_SHRINK), buffer;
	uint8_t *at;

	at = map(fd, huge, PROT_READ | PROT_WRITE, MAP_SHARED);
	at[0] = at[5 * page] = 9;
	munmap(at, huge);
	buffer = pin(fd, 5 * page, page, 0);
	CHECK(buffer >= 0);
	CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) && errno == EBUSY);
	close(buffer);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
	CHECK_EQ(pin(fd, 0, page, 0), -EPERM);
	buffer = pin(fd, 5 * page, page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	at = map(window(buffer, 0, page), page, PROT_READ, MAP_SHARED);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, huge) && errno == EPERM);
	CHECK(ftruncate(fd, 0) && errno == EPERM);
	CHECK(mmap(NULL, huge, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	CHECK_EQ(at[0], 9);
}

static void hugetlb_seals(void)
{
	if (number_in("/proc/meminfo", "HugePages_Free:") < 1)
		test_skip("no free huge pages in this guest");
	huge_seals(MFD_HUGETLB, number_in("/proc/meminfo", "Hugepagesize:") * 1024);
}

static void thp_seals(void)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "w");

	if (!f || fputs("force", f) < 0 || fclose(f))
		test_skip("no huge pages in shared memory on this kernel");
	huge_seals(0, 2ul << 20);
	f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "w");
	fputs("never", f);
	fclose(f);
}

/*
 * Without seals a memfd's bytes are not still, though nobody has it open for writing: a writable
 * buffer, and every window of it, is a way in that keeps no file open.
 */
static void memfd_by_address(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), ro;
	uint8_t *at,
		*seen = map(window(buffer, 0, N * page), page, PROT_READ | PROT_WRITE, MAP_SHARED);
	char name[64];

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ro = open(name, O_RDONLY);
	CHECK(ro >= 0);
	close(fd);
	at = map(ro, N * page, PROT_READ, MAP_SHARED);
	CHECK_EQ(pin_at(ro, at, N * page, SHERD_PIN_IMMUTABLE), -EPERM);
	CHECK(pin_at(ro, at, N * page, SHERD_PIN_READ_ONLY) >= 0);
	seen[0] = 1;
	close(buffer);
	/* sealed, it is like any other memfd */
	fd = memfd(0, N * page, ALL);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	ro = open(name, O_RDONLY);
	at = map(ro, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(ro, at, N * page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).state,
		 SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE | SHERD_STATE_SEALED);
}

static void immutable_memfd(void)
{
	int fd = memfd(0, N * page, ALL), buffer = pin(fd, 0, N * page, SHERD_PIN_IMMUTABLE);
	uint8_t *seen, *at;

	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).state,
		 SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE | SHERD_STATE_SEALED);
	seen = map(window(buffer, 0, N * page), N * page, PROT_READ, MAP_SHARED);
	CHECK(pwrite(fd, "x", 1, 0) < 0);
	CHECK(ftruncate(fd, 0) < 0);
	CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, page) < 0);
	CHECK(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	at = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);
	if (at != MAP_FAILED) {
		CHECK(mprotect(at, page, PROT_READ | PROT_WRITE));
		CHECK(madvise(at, page, MADV_REMOVE));
	}
	CHECK(mprotect(seen, page, PROT_READ | PROT_WRITE) && errno == EACCES);
	CHECK(is_pattern(seen, 0, N * page));
}

/* Writing through /proc/self/mem goes where the process itself may not write. */
static void write_by_force(const void *at)
{
	int mem = open("/proc/self/mem", O_RDWR);

	CHECK(mem >= 0);
	CHECK(pwrite(mem, "x", 1, (uintptr_t)at) < 0);
	close(mem);
}

static void immutable_file(void)
{
	const char *const dirs[] = { "/ext4", "/tmp" };
	char path[64];
	uint8_t *at, *seen;
	int fd, buffer, w, rw;
	size_t i;

	for (i = 0; i < 2; i++) {
		if (!mounted(dirs[i]))
			continue;
		fd = file_in(dirs[i], N * page, path);
		at = map(fd, N * page, PROT_READ, MAP_SHARED);
		buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
		CHECK(buffer >= 0);
		CHECK_EQ(info(buffer).state, SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE |
						     SHERD_STATE_WRITE_DENIED);
		w = window(buffer, 0, N * page);
		seen = map(w, N * page, PROT_READ, MAP_SHARED);
		CHECK(open(path, O_RDWR) < 0 && errno == ETXTBSY);
		CHECK(open(path, O_WRONLY | O_TRUNC) < 0 && errno == ETXTBSY);
		CHECK(truncate(path, page) && errno == ETXTBSY);
		CHECK(mprotect(at, page, PROT_READ | PROT_WRITE));
		CHECK(madvise(at, page, MADV_REMOVE));
		write_by_force(at);
		write_by_force(seen);
		CHECK(is_pattern(seen, 0, N * page));
		/* The window alone holds it; the file's own descriptors are not needed. */
		munmap(at, N * page);
		close(fd);
		close(buffer);
		CHECK(open(path, O_RDWR) < 0 && errno == ETXTBSY);
		munmap(seen, N * page);
		close(w);
		rw = open(path, O_RDWR);
		CHECK(rw >= 0);
		/* A second opinion: who has it open for writing is in the way. */
		fd = open(path, O_RDONLY);
		at = map(fd, N * page, PROT_READ, MAP_SHARED);
		CHECK_EQ(pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE), -ETXTBSY);
		close(rw);
		buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
		w = pin_at(fd, at, page, SHERD_PIN_IMMUTABLE);
		CHECK(buffer >= 0 && w >= 0);
		close(buffer);
		CHECK(open(path, O_RDWR) < 0 && errno == ETXTBSY);
		close(w);
		CHECK(open(path, O_RDWR) >= 0);
		unlink(path);
	}
}

/* A failure after writers were denied lets them in again. */
static void denial_undone(void)
{
	char path[64];
	int fd = file_in("/tmp", page, path);
	void *at = map(fd, 2 * page, PROT_READ, MAP_SHARED);

	CHECK_EQ(pin_at(fd, at, 2 * page, SHERD_PIN_IMMUTABLE), -EFAULT);
	CHECK(open(path, O_RDWR) >= 0);
}

static char shared_path[64];

static int deny_as_stranger(void)
{
	int fd = open(shared_path, O_RDONLY);
	void *at = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || at == MAP_FAILED)
		return 1;
	if (pin_at(fd, at, page, SHERD_PIN_IMMUTABLE) != -EACCES)
		return 2;
	return pin_at(fd, at, page, SHERD_PIN_READ_ONLY) < 0 ? 3 : 0;
}

static void stranger_cannot_deny(void)
{
	int fd = file_in("/tmp", page, shared_path);

	CHECK_EQ(fchmod(fd, 0644), 0);
	CHECK_EQ(as_user(1000, 1 << 20, deny_as_stranger), 0);
	CHECK(open(shared_path, O_RDWR) >= 0);
}

/* FS_IOC_SETFLAGS, as chattr does it. */
static void set_immutable(int fd, int on)
{
	int flags = on ? FS_IMMUTABLE_FL : 0;

	if (ioctl(fd, FS_IOC_SETFLAGS, &flags))
		test_skip("no immutable files here: %s", strerror(errno));
}

static int pin_as_stranger(void)
{
	int fd = open(shared_path, O_RDONLY);
	void *at = mmap(NULL, page, PROT_READ, MAP_SHARED, fd, 0);

	if (fd < 0 || at == MAP_FAILED)
		return 1;
	return pin_at(fd, at, page, SHERD_PIN_IMMUTABLE) < 0 ? 2 : 0;
}

/*
 * Nobody can write it, so anybody may rely on that; and when root thinks better of it, it stays so.
 */
static void chattr_immutable(void)
{
	int fd, buffer, rc;
	void *at;

	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	fd = file_in("/ext4", page, shared_path);
	CHECK_EQ(fchmod(fd, 0644), 0);
	set_immutable(fd, 1);
	at = map(fd, page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, page, SHERD_PIN_IMMUTABLE);
	rc = as_user(1000, 1 << 20, pin_as_stranger);
	set_immutable(fd, 0);
	CHECK(buffer >= 0);
	CHECK_EQ(rc, 0);
	CHECK_EQ(info(buffer).state,
		 SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE | SHERD_STATE_WRITE_DENIED);
	CHECK(open(shared_path, O_RDWR) < 0 && errno == ETXTBSY);
	CHECK_EQ(as_user(1000, 1 << 20, deny_as_stranger), 0);
	close(buffer);
	CHECK(open(shared_path, O_RDWR) >= 0);
	unlink(shared_path);
}

static void verity(void)
{
	struct fsverity_enable_arg {
		uint32_t version, hash, block, salt_size;
		uint64_t salt_ptr;
		uint32_t sig_size, reserved1;
		uint64_t sig_ptr, reserved2[11];
	} arg = { .version = 1, .hash = 1, .block = 4096 };
	char path[64];
	int fd, buffer;
	void *at;

	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	fd = file_in("/ext4", N * page, path);
	if (ioctl(fd, _IOW('f', 133, struct fsverity_enable_arg), &arg))
		test_skip("no fs-verity here: %s", strerror(errno));
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).state,
		 SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE | SHERD_STATE_VERITY);
	unlink(path);
}

/* ---------------------------------------------------------------- the race */

/*
 * Two threads. While one makes the next memfd the other may sleep; then they meet, and both run
 * when the race begins, or who was asleep would always lose. Delays that differ from round to round
 * let now this one be first, now that.
 */
static struct race {
	int fd;
	_Atomic long ready, met, go, sealed;
	int delay;
} race;

/* Rounds are far shorter than a sleep; but the kernel may have work to do for the other. */
static void wait_for(_Atomic long *number, long value)
{
	long i;

	for (i = 0; *number < value; i++) {
		if (i > 20000)
			usleep(50);
	}
}

static void delay(int turns)
{
	volatile int i;

	for (i = 0; i < turns; i++)
		;
}

/* Each has a processor of its own: the scheduler would leave them together where one has slept. */
static void run_on(int processor)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	CHECK_EQ(sched_setaffinity(0, sizeof(set), &set), 0);
}

static void *sealer(void *arg)
{
	long i;

	(void)arg;
	run_on(1);
	for (i = 1;; i++) {
		wait_for(&race.ready, i);
		if (race.fd < 0)
			break;
		race.met = i;
		wait_for(&race.go, i);
		delay(race.delay);
		fcntl(race.fd, F_ADD_SEALS, F_SEAL_WRITE);
		race.sealed = i;
	}
	return NULL;
}

#define MOST (1 << 16)

/* lead: by how much the seal comes later than the pin. */
static int race_once(int dev, long i, int lead)
{
	struct sherd_pin arg = { .size = sizeof(arg), .length = page };

	race.fd = arg.fd = memfd_create("race", MFD_ALLOW_SEALING);
	CHECK_EQ(ftruncate(race.fd, page), 0);
	CHECK_EQ(fcntl(race.fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	race.delay = lead;
	race.ready = i;
	wait_for(&race.met, i);
	race.go = i;
	delay(-lead);
	return ioctl(dev, SHERD_PIN, &arg) ? -errno : arg.buffer;
}

/*
 * Never both: a buffer that devices may write, and a file sealed against writing. The seal may come
 * as soon as the buffer is closed, which is at once: the kernel waits a while for pins to go.
 */
static void seal_race(long rounds)
{
	int dev = sherd_open(), lead = 0, buffer;
	long i, pinned = 0;
	pthread_t other;

	run_on(0);
	CHECK_EQ(pthread_create(&other, NULL, sealer, NULL), 0);
	for (i = 1; i <= rounds; i++) {
		buffer = race_once(dev, i, lead + (int)((i * 2654435761u >> 8) % 4096));
		if (buffer >= 0) {
			if (fcntl(race.fd, F_GET_SEALS) & F_SEAL_WRITE)
				test_fail(__FILE__, __LINE__, "round %ld: both", i);
			close(buffer);
			pinned++;
		} else {
			CHECK(buffer == -EPERM || buffer == -EFAULT);
		}
		/* Now and then the pin shall win, but not often: the seal sleeps then. */
		lead += buffer >= 0 ? -128 : 16;
		lead = lead < -MOST ? -MOST : lead > MOST ? MOST : lead;
		wait_for(&race.sealed, i);
		close(race.fd);
	}
	race.fd = -1;
	race.ready = i;
	pthread_join(other, NULL);
	printf("# %ld races, of which the pin won %ld\n", i - 1, pinned);
	CHECK(pinned && pinned < i - 1);
}

static void seal_race_short(void)
{
	seal_race(1000);
}

static void seal_race_long(void)
{
	seal_race(100000);
}

const struct test seal_tests[] = {
	{ "each missing seal is refused, and each that is in the way", each_seal_missing, 0 },
	{ "F_SEAL_WRITE is refused while a writable buffer is pinned, and taken afterwards",
	  write_seal_while_pinned, 0 },
	{ "a hugetlb memfd's seals hold, and are refused while it is pinned", hugetlb_seals, 0 },
	{ "the seals of a memfd of transparent huge pages hold, and are refused while it is pinned",
	  thp_seals, 0 },
	{ "a memfd given by address is immutable by its seals alone (invariant 1)",
	  memfd_by_address, 0 },
	{ "nothing changes an immutable memfd buffer (invariant 1)", immutable_memfd, 0 },
	{ "nothing changes an immutable file buffer until its last window closes (invariant 1)",
	  immutable_file, 0 },
	{ "a failed immutable pin lets writers in again (invariant 4)", denial_undone, 0 },
	{ "only who may write a file may keep others from writing it", stranger_cannot_deny, 0 },
	{ "a file that nobody may change (chattr +i) is immutable, and still when that ends (invariant 1)",
	  chattr_immutable, 0 },
	{ "a file with fs-verity is immutable without denying anybody", verity, 0 },
	{ "no memfd is both pinned for writing and sealed against it: 1,000 races", seal_race_short,
	  0 },
	{ "no memfd is both pinned for writing and sealed against it: 100,000 races",
	  seal_race_long, 1 },
	{ 0 }
};
