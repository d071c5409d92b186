/* The search of short lists: row by row, without windows and bounds. */
#ifndef QUIVER_TEXT_FEW_H
#define QUIVER_TEXT_FEW_H

#include "collector.h"
#include "scoring.h"

/* Whether a question's lists are so short that this is the faster way. */
int are_few(const Question *question);

Outcome search_few(const Question *question, const Norms *norms, const uint8_t *mask, Collector *collector);

#endif
