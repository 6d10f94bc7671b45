/* SPDX-License-Identifier: MIT */
/* trace: the sink, and the counters by which a debugger says that a probe is looked at. */
#include "base/trace.h"

struct sherd_trace_sink *sherd_trace;

#ifdef SHERD_HAS_PROBES
#define COUNTER(name) unsigned short sherd_##name##_semaphore __attribute__((section(".probes")))
SHERD_EACH_PROBE(COUNTER);
#endif
