/* SPDX-License-Identifier: MIT */
/* icd: the OpenCL drivers that are registered, as icd_list.c finds them. For icd.c. */
#ifndef SHERD_DEVICE_ICD_H
#define SHERD_DEVICE_ICD_H

#include "base/base.h"

#define SHERD_MAX_ICDS 32

/* One driver: an .icd file, or a libOpenCL that is a driver itself and not a loader. */
struct icd {
	char *file, *library;
	char key[SHERD_SHA256_HEX]; /* of this driver as it is now, on this kernel */
	bool good, bad; /* what is known of it; neither: nothing */
	struct sherd_error why; /* it is bad */
};

struct icds {
	struct icd icd[SHERD_MAX_ICDS];
	int n;
};

/* Those that the loader would load: by OCL_ICD_VENDORS, or of /etc/OpenCL/vendors. */
void sherd_icds_read(struct icds *l);
void sherd_icds_free(struct icds *l);

#endif
