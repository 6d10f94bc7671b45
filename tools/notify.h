/* SPDX-License-Identifier: MIT */
/*
 * notify: tells systemd that a service is ready, alive, or stopping (sd_notify(3): a datagram of
 * lines to the socket in $NOTIFY_SOCKET). Elsewhere it does nothing.
 */
#ifndef SHERD_NOTIFY_H
#define SHERD_NOTIFY_H

#include <stdint.h>

/* "READY=1", "WATCHDOG=1", "STOPPING=1", "STATUS=..." */
void notify(const char *line);
/* Microseconds within which WATCHDOG=1 is expected again; 0: it is not. */
uint64_t notify_watchdog_us(void);

#endif
