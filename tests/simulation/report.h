#ifndef SATCHEL_SIMULATION_REPORT_H
#define SATCHEL_SIMULATION_REPORT_H

#include "simulation.h"

void sim_counts_add(struct sim_counts *sum, const struct sim_counts *counts);
/* How many of them are zero. */
unsigned sim_counts_print(const struct sim_counts *counts);

#endif
