/* SPDX-License-Identifier: MIT */
/* import_window: what import.c and import_turn.c share. For them alone. */
#ifndef SHERD_IMPORT_WINDOW_H
#define SHERD_IMPORT_WINDOW_H

#include "device/import.h"

/* Pages, their buffer, and the parts [first, end) that are sub-buffers of it: in a ring, one. */
struct sherd_import_window {
	struct sherd_window window; /* its fd is ours until a driver takes it over */
	struct sherd_window *slot; /* of a ring */
	cl_mem mem; /* NULL: the parts are buffers by themselves */
	int first, end;
	bool acquired; /* the device has it */
	cl_event done; /* when the device is done with it; NULL: it is, or was not asked */
};

/* The device has a window from now on; nothing where it has it already. */
int sherd_turn_take(struct sherd_import *im, struct sherd_import_window *w,
		    struct sherd_error *err);
/* It ends with what is enqueued so far: w->done. */
int sherd_turn_give_back(struct sherd_import *im, struct sherd_import_window *w,
			 struct sherd_error *err);
/* Until it has ended. */
int sherd_turn_wait(struct sherd_import *im, struct sherd_import_window *w,
		    struct sherd_error *err);

#endif
