/* SPDX-License-Identifier: MIT */
/*
 * energy: joules that a piece of work took, where the machine has a sensor: RAPL's package counters
 * (x86), an INA3221's rails (Jetson and other boards), or a hwmon device that reports power.
 */
#ifndef SHERD_ENERGY_H
#define SHERD_ENERGY_H

#include "base/base.h"

struct sherd_energy;

/* @sysfs: "/sys", or a test's copy. NULL where there is no sensor that may be read. */
struct sherd_energy *sherd_energy_open(const char *sysfs);
void sherd_energy_close(struct sherd_energy *e);
/* What is measured: "RAPL package-0", "ina3221 VDD_IN". */
const char *sherd_energy_name(const struct sherd_energy *e);

/* Joules between the two; a thread samples meanwhile. */
int sherd_energy_start(struct sherd_energy *e);
/* So far; moves on about every 50 ms. */
double sherd_energy_so_far(struct sherd_energy *e);
double sherd_energy_stop(struct sherd_energy *e);

#endif
