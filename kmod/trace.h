/* SPDX-License-Identifier: GPL-2.0-only */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM sherd

#if !defined(_SHERD_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _SHERD_TRACE_H

#include <linux/ktime.h>
#include <linux/tracepoint.h>

DECLARE_EVENT_CLASS(sherd_work,
		    TP_PROTO(u64 bytes, u32 segments, ktime_t start),
		    TP_ARGS(bytes, segments, start),
		    TP_STRUCT__entry(__field(u64, bytes)
				     __field(u32, segments)
				     __field(s64, ns)),
		    TP_fast_assign(__entry->bytes = bytes;
				   __entry->segments = segments;
				   __entry->ns = ktime_to_ns(ktime_sub(ktime_get(), start));),
		    TP_printk("bytes=%llu segments=%u ns=%lld",
			      __entry->bytes, __entry->segments, __entry->ns));

/* A buffer's pages were pinned. */
DEFINE_EVENT(sherd_work, sherd_pin,
	     TP_PROTO(u64 bytes, u32 segments, ktime_t start),
	     TP_ARGS(bytes, segments, start));

/* A device mapped a window. */
DEFINE_EVENT(sherd_work, sherd_map,
	     TP_PROTO(u64 bytes, u32 segments, ktime_t start),
	     TP_ARGS(bytes, segments, start));

/* A window was synced: bytes and segments over all devices that have it mapped. */
DEFINE_EVENT(sherd_work, sherd_sync,
	     TP_PROTO(u64 bytes, u32 segments, ktime_t start),
	     TP_ARGS(bytes, segments, start));

/* A buffer's pages were let go. */
DEFINE_EVENT(sherd_work, sherd_release,
	     TP_PROTO(u64 bytes, u32 segments, ktime_t start),
	     TP_ARGS(bytes, segments, start));

#endif

#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
