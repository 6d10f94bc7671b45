// SPDX-License-Identifier: MIT
/*
 * The runtime above the module: the guest takes the host's file system as its root, read-only and
 * over 9p, and runs the script that the kernel's command line names, with memory at /run, and the
 * disk at /run/disk. So the programs that are tested are those that were built there, with every
 * library that they use.
 */
#include <linux/limits.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "guest.h"

#define HOST "/host"

static void move(const char *from, const char *to)
{
	char path[64];

	snprintf(path, sizeof(path), HOST "%s", to);
	if (mount(from, path, NULL, MS_MOVE, NULL))
		printf("# %s: %s\n", path, strerror(errno));
}

static bool take_root(void)
{
	mkdir(HOST, 0755);
	if (mount("host", HOST, "9p", MS_RDONLY,
		  "trans=virtio,version=9p2000.L,msize=524288,cache=loose")) {
		printf("skipped: no file system over 9p: %s\n", strerror(errno));
		return false;
	}
	move("/proc", "/proc");
	move("/sys", "/sys");
	move("/dev", "/dev");
	mount("tmpfs", HOST "/run", "tmpfs", 0, "mode=1777");
	mkdir(HOST "/run/disk", 0777);
	move("/ext4", "/run/disk");
	if (!chdir(HOST) && !chroot("."))
		return true;
	printf("not ok 998 - the guest takes the host's file system as its root (%s)\n",
	       strerror(errno));
	return false;
}

/* The word after key on the kernel's command line. */
static char *word_of(const char *line, const char *key)
{
	const char *at = strstr(line, key);

	return at ? strndup(at + strlen(key), strcspn(at + strlen(key), " \n")) : strdup("");
}

int run_on_host(void)
{
	char line[4096] = "", *script, *command;
	FILE *f = fopen("/proc/cmdline", "r");
	int status = -1;
	pid_t pid;

	if (!f || !fgets(line, sizeof(line), f) || !take_root())
		return 0;
	fclose(f);
	script = word_of(line, "sherd.script=");
	command = word_of(line, "sherd.command=");
	printf("# %s %s\n", script, command);
	pid = fork();
	if (!pid) {
		setenv("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", 1);
		setenv("HOME", "/run", 1);
		dup2(1, 2);
		execl("/bin/bash", "bash", script, command, NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	if (status)
		printf("not ok 999 - the script runs to its end (%d)\n", status);
	return status;
}
