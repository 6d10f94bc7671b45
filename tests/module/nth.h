/* SPDX-License-Identifier: MIT */
/*
 * The loop of nth.c: a request is made again and again, and each time something else in it fails.
 */
#ifndef NTH_H
#define NTH_H

/**
 * struct request - something that is asked of the module, again and again
 * @name: for people
 * @prepare: makes what it needs, before anything fails
 * @make: asks; a descriptor or handle, or -errno
 * @check: what was made is whole
 * @undo: lets go of it
 * @unchanged: what else must be as before; after failures, and after undoing
 * @clean_up: undoes prepare
 */
struct request {
	const char *name;
	void (*prepare)(void);
	int (*make)(void);
	void (*check)(int made);
	void (*undo)(int made);
	void (*unchanged)(void);
	void (*clean_up)(void);
};

void need_fault_injection(void); /* or the test is skipped */
void fail_each(const struct request *r);
void close_it(int fd);

#endif
