// SPDX-License-Identifier: MIT
/*
 * init of the guest: mounts, loads the modules, runs the tests, prints TAP, powers off.
 *
 * The leak oracle: after each test the module is referenced by nobody, no dma-buf exists, the
 * kernel has let go of as many pinned pages as it pinned, both users can pin exactly up to their
 * limits, and the kernel's log and its instruments (instruments.c) have nothing of alarm.
 */
#include <dirent.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/klog.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include "guest.h"

#define SKIPPED 77

long page;

void test_fail(const char *file, int line, const char *fmt, ...)
{
	va_list ap;

	printf("# %s:%d: ", file, line);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(1);
}

void test_skip(const char *fmt, ...)
{
	va_list ap;

	printf("skipped: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
	_exit(SKIPPED);
}

long number_in(const char *path, const char *key)
{
	char line[256];
	long v = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	while (v < 0 && fgets(line, sizeof(line), f)) {
		if (!*key)
			v = strtol(line, NULL, 0);
		else if (!strncmp(line, key, strlen(key)))
			v = strtol(line + strlen(key), NULL, 0);
	}
	fclose(f);
	return v;
}

#define BUFINFO "/sys/kernel/debug/dma_buf/bufinfo"

/* What cannot be read would compare as equal, and look like nothing. */
static bool can_count(void)
{
	return number_in("/sys/module/sherd/refcnt", "") == 0 &&
	       number_in(BUFINFO, "Total ") == 0 &&
	       number_in("/proc/vmstat", "nr_foll_pin_acquired ") >= 0 &&
	       number_in("/proc/vmstat", "nr_foll_pin_released ") >= 0;
}

static int probe_one_page(void)
{
	int fd = memfd(0, page, F_SEAL_SHRINK);

	return fd < 0 || pin(fd, 0, page, 0) < 0;
}

static const char *leak(void)
{
	if (number_in("/sys/module/sherd/refcnt", "") != 0)
		return "the module is still referenced";
	if (number_in(BUFINFO, "Total ") != 0)
		return "a dma-buf is left";
	/*
	 * Each processor counts for itself, and tells the others now and then; or when this is
	 * read.
	 */
	number_in("/proc/sys/vm/stat_refresh", "");
	if (number_in("/proc/vmstat", "nr_foll_pin_acquired ") !=
	    number_in("/proc/vmstat", "nr_foll_pin_released "))
		return "pages are still pinned";
	if (as_user(1000, page, probe_one_page) || as_user(0, page, probe_one_page))
		return "RLIMIT_MEMLOCK is still charged";
	return NULL;
}

/* Closing takes effect a moment late where descriptors were on their way in a socket. */
static bool nothing_leaked(void)
{
	const char *what = NULL;
	int i;

	for (i = 0; i < 40; i++) {
		what = leak();
		if (!what)
			return instruments_are_quiet();
		usleep(50000);
	}
	printf("# leak: %s\n", what);
	instruments_are_quiet();
	return false;
}

const char *option(const char *word)
{
	static char line[4096];
	FILE *f = fopen("/proc/cmdline", "r");
	const char *at;

	if (!f)
		return NULL;
	if (!fgets(line, sizeof(line), f))
		line[0] = '\0';
	fclose(f);
	at = strstr(line, word);
	return at ? at + strlen(word) : NULL;
}

/* Whether a name has the words that the command line gives as some_words. */
static bool has_words(const char *name, const char *words)
{
	size_t i, len = strcspn(words, " \n");

	for (; *name; name++) {
		for (i = 0; i < len && name[i] == (words[i] == '_' ? ' ' : words[i]); i++)
			;
		if (i == len)
			return true;
	}
	return false;
}

static int number;
static bool all_good = true;

/*
 * sherd.only=words: no other tests; sherd.long: the long ones, too; sherd.also=words: these of
 * them.
 */
static bool is_wanted(const struct test *t)
{
	const char *only = option("sherd.only="), *also = option("sherd.also=");

	if (only && !has_words(t->name, only))
		return false;
	return !t->is_long || option("sherd.long") || (also && has_words(t->name, also));
}

/* mark: the kernel it is for. "debian" runs on every kernel, "debug" is skipped on a stock one. */
static void run(const struct test *t, const char *mark)
{
	struct timespec a, b;
	char name[16];
	int status;
	bool clean;
	pid_t pid;

	if (!is_wanted(t))
		return;
	fflush(stdout);
	clock_gettime(CLOCK_MONOTONIC, &a);
	number++;
	pid = fork();
	if (!pid) {
		/* what kmemleak says of memory that this process lost */
		snprintf(name, sizeof(name), "test-%d", number);
		prctl(PR_SET_NAME, name);
		/* instruments take their time */
		alarm((t->is_long ? 600 : 120) * (option("sherd.sees=") ? 5 : 1));
		t->run();
		fflush(stdout);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	clean = nothing_leaked();
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (WIFSIGNALED(status))
		printf("# killed by signal %d\n", WTERMSIG(status));
	if (clean && WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
		printf("ok %d # SKIP %s [%s]\n", number, t->name, mark);
	else if (clean && !status)
		printf("ok %d - %s [%s]\n", number, t->name, mark);
	else
		printf("not ok %d - %s [%s]\n", number, t->name, mark), all_good = false;
	if (b.tv_sec - a.tv_sec >= 5)
		printf("# took %ld s\n", (long)(b.tv_sec - a.tv_sec));
}

/* ---------------------------------------------------------------- requests */

int sherd_open(void)
{
	int fd = open("/dev/sherd", O_RDWR | O_CLOEXEC);

	CHECK(fd >= 0);
	return fd;
}

int pin_arg(struct sherd_pin *arg)
{
	int dev = sherd_open();
	int ret = ioctl(dev, SHERD_PIN, arg) ? -errno : arg->buffer;

	close(dev);
	return ret;
}

int pin(int fd, uint64_t offset, uint64_t length, uint32_t flags)
{
	struct sherd_pin arg = { .size = sizeof(arg), .flags = flags, .fd = fd, .offset = offset,
				 .length = length };

	return pin_arg(&arg);
}

int pin_at(int fd, const void *addr, uint64_t length, uint32_t flags)
{
	struct sherd_pin arg = { .size = sizeof(arg), .flags = flags, .fd = fd,
				 .addr = (uintptr_t)addr, .length = length };

	return pin_arg(&arg);
}

int window(int buffer, uint64_t offset, uint64_t length)
{
	struct sherd_export arg = { .size = sizeof(arg), .offset = offset, .length = length };

	return ioctl(buffer, SHERD_EXPORT, &arg) ? -errno : arg.fd;
}

struct sherd_info info(int buffer)
{
	struct sherd_info arg = { .size = sizeof(arg) };

	CHECK_EQ(ioctl(buffer, SHERD_INFO, &arg), 0);
	return arg;
}

/* ---------------------------------------------------------------- sources */

uint8_t pattern(size_t p, size_t i)
{
	return (uint8_t)(p * 31 + i * 7 + (i >> 8) + 1);
}

void fill(int fd, size_t bytes)
{
	uint8_t *data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	size_t i;

	CHECK(data != MAP_FAILED);
	for (i = 0; i < bytes; i++)
		data[i] = pattern(i / page, i % page);
	munmap(data, bytes);
}

bool is_pattern(const uint8_t *data, size_t first_page, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes; i++) {
		if (data[i] != pattern(first_page + i / page, i % page))
			return false;
	}
	return true;
}

int memfd(unsigned int flags, size_t bytes, unsigned int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	CHECK(fd >= 0);
	CHECK_EQ(ftruncate(fd, bytes), 0);
	if (bytes <= 1 << 22)
		fill(fd, bytes);
	CHECK_EQ(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

int file_in(const char *dir, size_t bytes, char path[64])
{
	uint8_t *data = malloc(bytes);
	size_t i;
	int fd;

	snprintf(path, 64, "%s/test-XXXXXX", dir);
	fd = mkstemp(path);
	CHECK(fd >= 0);
	for (i = 0; i < bytes; i++)
		data[i] = pattern(i / page, i % page);
	CHECK_EQ(write(fd, data, bytes), bytes);
	CHECK_EQ(fsync(fd), 0);
	free(data);
	close(fd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

void *map(int fd, size_t bytes, int prot, int flags)
{
	void *p = mmap(NULL, bytes, prot, flags, fd, 0);

	CHECK(p != MAP_FAILED);
	return p;
}

bool mounted(const char *dir)
{
	struct stat here, above;
	char up[64];

	snprintf(up, sizeof(up), "%s/..", dir);
	return !stat(dir, &here) && !stat(up, &above) && here.st_dev != above.st_dev;
}

long vm_pin(void)
{
	return number_in("/proc/self/status", "VmPin:") * 1024 / page;
}

double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

int as_user(uid_t uid, uint64_t memlock, int (*fn)(void))
{
	struct rlimit limit = { memlock, memlock };
	struct {
		uint32_t version;
		int pid;
	} head = { 0x20080522, 0 };
	uint32_t none[6] = { 0 };
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (setrlimit(RLIMIT_MEMLOCK, &limit) || setresgid(uid, uid, uid) ||
		    setresuid(uid, uid, uid) || syscall(SYS_capset, &head, none))
			_exit(255);
		status = fn();
		fflush(stdout);
		_exit(status);
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* ---------------------------------------------------------------- the guest */

static void load_modules(const char *list)
{
	char line[256];
	FILE *f = fopen(list, "r");
	int fd;

	while (f && fgets(line, sizeof(line), f)) {
		line[strcspn(line, "\n")] = '\0';
		fd = open(line, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || syscall(SYS_finit_module, fd, "", 0))
			printf("# %s: %s\n", line, strerror(errno));
		close(fd);
	}
	if (f)
		fclose(f);
}

static void mount_all(void)
{
	static const char *const dirs[] = { "/proc", "/sys",	"/dev",	    "/tmp", "/mnt",
					    "/ext4", "/squash", "/overlay", "/dax" };
	size_t i;

	for (i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		mkdir(dirs[i], 0755);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("debug", "/sys/kernel/debug", "debugfs", 0, NULL);
	mount("trace", "/sys/kernel/tracing", "tracefs", 0, NULL);
	mount("tmp", "/tmp", "tmpfs", 0, "mode=1777");
}

static int copy_disk(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CLOEXEC);
	static char data[1 << 20];
	ssize_t n;

	while ((n = read(in, data, sizeof(data))) > 0) {
		if (write(out, data, n) != n)
			break;
	}
	close(in);
	return n || close(out) ? -1 : 0;
}

static void mount_disks(void)
{
	if (mount("/dev/vda", "/ext4", "ext4", 0, NULL))
		printf("# ext4: %s\n", strerror(errno));
	chmod("/ext4", 01777);
	if (mount("/dev/vdb", "/squash", "squashfs", MS_RDONLY, NULL))
		printf("# squashfs: %s\n", strerror(errno));
	if (!access("/dev/pmem0", F_OK) &&
	    (copy_disk("/dev/vdc", "/dev/pmem0") || mount("/dev/pmem0", "/dax", "ext4", 0, "dax")))
		printf("# dax: %s\n", strerror(errno));
	mkdir("/ext4/upper", 0755);
	mkdir("/ext4/work", 0755);
	if (mount("overlay", "/overlay", "overlay", 0,
		  "lowerdir=/squash,upperdir=/ext4/upper,workdir=/ext4/work"))
		printf("# overlay: %s\n", strerror(errno));
}

static void run_all(void)
{
	static const struct {
		const char *mark;
		const struct test *tests;
	} all[] = {
		{ "debian", abi_tests },
		{ "debian", source_tests },
		{ "debian", seal_tests },
		{ "debian", life_tests },
		{ "debian", charge_tests },
		{ "debian", window_tests },
		{ "debian", bounce_tests },
		{ "debian", kill_tests },
		{ "debian", net_tests },
		{ "debian", cma_tests },
		{ "debian", race_tests },
		{ "debian", thread_tests },
		{ "debian", fuzz_tests },
		{ "debian", time_tests },
		{ "debug", nth_tests },
		/* These switch off one instrument after the other. */
		{ "debug", dma_instrument_tests },
		{ "debug", nth_dma_tests },
		{ "debug", instrument_tests },
	};
	const struct test *t;
	size_t i;

	instruments_start();
	for (i = 0; i < sizeof(all) / sizeof(*all); i++) {
		for (t = all[i].tests; t->name; t++)
			run(t, all[i].mark);
	}
	printf("1..%d\n", number);
}

int main(int argc, char **argv)
{
	page = sysconf(_SC_PAGESIZE);
	if (argc > 1) /* a test executes this */
		return executed(argc, argv);
	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_all();
	load_modules("/modules.list");
	mount_disks();
	if (access("/dev/sherd", F_OK)) {
		printf("Bail out! no /dev/sherd\n");
	} else if (option("sherd.script=")) {
		all_good = !run_on_host();
	} else {
		chmod("/dev/sherd", 0666);
		if (can_count())
			run_all();
		else
			printf("Bail out! this kernel does not say what is pinned and exported\n");
	}
	printf("# the end: %s\n", all_good ? "all good" : "not all good");
	fflush(stdout);
	tcdrain(1);
	umount2("/overlay", MNT_DETACH);
	umount2("/dax", MNT_DETACH);
	umount2("/ext4", MNT_DETACH);
	sync();
	reboot(RB_POWER_OFF);
	return 0;
}
